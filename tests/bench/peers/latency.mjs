// Submission to start of one job each 10 ms on an idle queue: bee-queue (concurrency 1). usage: latency.mjs REDIS_URL JOBS
import Queue from "bee-queue";
const [url, jobs] = [process.argv[2], Number(process.argv[3])];
const now = () => Number(process.hrtime.bigint()) / 1e6;
const queue = new Queue("latency", { redis: url, storeJobs: false, getEvents: false, sendEvents: false });
const waits = [];
queue.process(1, async (job) => { waits.push(now() - job.data.t0); });
await queue.ready();
for (let i = 0; i < jobs; i++) {
  await new Promise((r) => setTimeout(r, 10));
  await queue.createJob({ seq: i, t0: now(), pad: "x".repeat(270) }).save();
}
while (waits.length < jobs) await new Promise((r) => setTimeout(r, 5));
waits.sort((a, b) => a - b);
console.log(`bee_start_p50 ${waits[jobs >> 1].toFixed(3)} ms`);
console.log(`bee_start_p99 ${waits[Math.floor(jobs * 0.99)].toFixed(3)} ms`);
process.exit(0);
