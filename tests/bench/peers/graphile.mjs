// graphile-worker in its best configuration: batches, a local queue, delays of 0. usage: graphile.mjs URL JOBS
import { run, makeWorkerUtils, Logger } from "graphile-worker";
const silent = new Logger(() => () => {}); // a line for each job would be part of what is measured
const [url, jobs] = [process.argv[2], Number(process.argv[3])];
const pad = "x".repeat(270);
const now = () => Number(process.hrtime.bigint()) / 1e9;
const utils = await makeWorkerUtils({ connectionString: url, logger: silent });
await utils.migrate();
let start = now();
for (let i = 0; i < jobs; i += 1000) {
  await utils.addJobs(Array.from({ length: Math.min(1000, jobs - i) }, (_, k) => ({
    identifier: "noop", payload: { seq: i + k, t0: 0, pad } })));
}
console.log(`graphile_bulk ${(jobs / (now() - start)).toFixed(0)} jobs/s`);
let done = 0, first = 0, last = 0;
const runner = await run({
  connectionString: url, concurrency: 24, maxPoolSize: 8, noHandleSignals: true, logger: silent,
  preset: { worker: { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
  taskList: { noop: async () => { if (!first) first = now(); done++; last = now(); } },
});
while (done < jobs) await new Promise((r) => setTimeout(r, 5));
console.log(`graphile_drain ${(jobs / (last - first)).toFixed(0)} jobs/s`);
await runner.stop();
await utils.release();
process.exit(0);
