// pg-boss in its best configuration: batches of 1,000, burst while they are full. usage: pgboss.mjs URL JOBS
import { PgBoss } from "pg-boss";
const [url, jobs] = [process.argv[2], Number(process.argv[3])];
const pad = "x".repeat(270);
const now = () => Number(process.hrtime.bigint()) / 1e9;
const boss = new PgBoss({ connectionString: url });
boss.on("error", (e) => { console.error(e.message); });
await boss.start();
await boss.createQueue("bench");
let start = now();
for (let i = 0; i < jobs; i += 1000) {
  await boss.insert("bench", Array.from({ length: Math.min(1000, jobs - i) }, (_, k) => ({
    data: { seq: i + k, t0: 0, pad } })));
}
console.log(`pgboss_bulk ${(jobs / (now() - start)).toFixed(0)} jobs/s`);
// Fetch and complete by hand: what its own worker does with a full batch, without the wait between polls.
let done = 0;
start = now();
while (done < jobs) {
  const batch = await boss.fetch("bench", { batchSize: 1000 });
  if (batch && batch.length) {
    await boss.complete("bench", batch.map((j) => j.id));
    done += batch.length;
  }
}
console.log(`pgboss_drain ${(jobs / (now() - start)).toFixed(0)} jobs/s`);
process.exit(0);
