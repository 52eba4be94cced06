// BullMQ, concurrency 100. usage: bullmq.mjs REDIS_URL JOBS
import { Queue, Worker } from "bullmq";
const [url, jobs] = [new URL(process.argv[2]), Number(process.argv[3])];
const pad = "x".repeat(270);
const now = () => Number(process.hrtime.bigint()) / 1e9;
const connection = { host: url.hostname, port: Number(url.port), password: url.password, maxRetriesPerRequest: null };
const queue = new Queue("bench", { connection });
let start = now();
for (let i = 0; i < jobs; i += 1000) {
  await queue.addBulk(Array.from({ length: Math.min(1000, jobs - i) }, (_, k) => ({
    name: "noop", data: { seq: i + k, t0: 0, pad } })));
}
console.log(`bullmq_bulk ${(jobs / (now() - start)).toFixed(0)} jobs/s`);
let done = 0, first = 0, last = 0;
new Worker("bench", async () => { if (!first) first = now(); done++; last = now(); }, { connection, concurrency: 100 });
while (done < jobs) await new Promise((r) => setTimeout(r, 5));
console.log(`bullmq_drain ${(jobs / (last - first)).toFixed(0)} jobs/s`);
process.exit(0);
