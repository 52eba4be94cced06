// bee-queue in its best configuration: concurrency 50, no stored jobs, no events. usage: bee.mjs REDIS_URL JOBS
import Queue from "bee-queue";
const [url, jobs] = [process.argv[2], Number(process.argv[3])];
const pad = "x".repeat(270);
const now = () => Number(process.hrtime.bigint()) / 1e9;
const base = { redis: url, storeJobs: false, getEvents: false, sendEvents: false };
const producer = new Queue("bench", { ...base, isWorker: false });
await producer.ready();
let start = now();
for (let i = 0; i < jobs; i += 1000) {
  await producer.saveAll(Array.from({ length: Math.min(1000, jobs - i) }, (_, k) =>
    producer.createJob({ seq: i + k, t0: 0, pad })));
}
console.log(`bee_bulk ${(jobs / (now() - start)).toFixed(0)} jobs/s`);
let done = 0, first = 0, last = 0;
const worker = new Queue("bench", base);
worker.process(50, async () => { if (!first) first = now(); done++; last = now(); });
while (done < jobs) await new Promise((r) => setTimeout(r, 5));
console.log(`bee_drain ${(jobs / (last - first)).toFixed(0)} jobs/s`);
process.exit(0);
