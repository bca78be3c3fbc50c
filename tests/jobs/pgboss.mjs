// Puts pg-boss through the scenarios read from stdin, all at once, and prints its answers.
// Usage: node pgboss.mjs MODULES_DIRECTORY CONNECTION_JSON < scenarios.json
import { createRequire } from 'node:module'
const require = createRequire(process.argv[2] + '/')
const { PgBoss } = require('pg-boss')
const { Client } = require('pg')
const names = {
  key: 'singletonKey', start_after: 'startAfter', retry_limit: 'retryLimit', retry_delay: 'retryDelay',
  retry_backoff: 'retryBackoff', dead_letter: 'deadLetter', priority: 'priority', policy: 'policy', group: 'group',
  expire_in: 'expireInSeconds', heartbeat: 'heartbeatSeconds', retention: 'retentionSeconds', delete_after: 'deleteAfterSeconds'
}
const pause = seconds => new Promise(resolve => setTimeout(resolve, seconds * 1000))
const behave = async how => {
  if (how.sleeps) await pause(how.sleeps)
  if (how.throws) throw new Error(how.throws)
  return how.returns
}
const options = given => Object.fromEntries(Object.entries(given ?? {}).map(
  ([name, value]) => [names[name] ?? name, name === 'group' ? { id: value } : value]))
const payload = value => (value !== null && typeof value === 'object') ? value : { value }
const input = await new Promise(resolve => {
  let text = ''
  process.stdin.on('data', part => { text += part }).on('end', () => resolve(JSON.parse(text)))
})
const answers = Object.fromEntries(Object.keys(input).map(title => [title, []]))
const make = async (number, rest) => {
  const boss = new PgBoss({
    ...JSON.parse(process.argv[3]), schema: `boss${number}`, supervise: false, schedule: false, max: 2,
    monitorIntervalSeconds: 1, maintenanceIntervalSeconds: 1, ...rest
  })
  boss.on('error', () => {})
  await boss.start()
  return boss
}
const play = async (title, steps, number) => {
  const boss = await make(number)
  const ids = []
  const held = {}
  const label = id => {
    if (id === null) return null
    if (!ids.includes(id)) ids.push(id)
    return String(ids.indexOf(id) + 1)
  }
  const id = text => ids[Number(text) - 1]
  const find = async (queue, text) => (await boss.findJobs(queue, { id: id(text) }))[0]
  const all = async queue => (await boss.findJobs(queue, {})).sort((a, b) => a.createdOn - b.createdOn || a.data?.n - b.data?.n)
  const verbs = {
    create: async (q, o) => { const { policy, ...rest } = o; await boss.createQueue(q, { ...(policy && { policy }), ...options(rest) }); return null },
    update_queue: async (q, o) => { await boss.updateQueue(q, options(o)); return null },
    send: async (q, data, o) => label(await boss.send(q, payload(data), options(o))),
    throttle: async (q, s, o) => label(await boss.send(q, {}, { ...options(o), singletonSeconds: s })),
    debounce: async (q, s, o) => label(await boss.send(q, {}, { ...options(o), singletonSeconds: s, singletonNextSlot: true })),
    insert: async (q, jobs) => { await boss.insert(q, jobs.map(options)); return null },
    fetch: async (q, n, o) => (await boss.fetch(q, { batchSize: n, ...(o?.groups && { groupConcurrency: o.groups }) })).map(j => label(j.id)).sort(),
    claim: async (q, n, o) => (await boss.fetch(q, { batchSize: n, groupConcurrency: o.groups })).length,
    hold: async (q, j) => { held[j] = (await find(q, j)).retryCount; return null },
    late: async (q, j) => (await boss.complete(q, { id: id(j), retryCount: held[j] })).affected,
    complete: async (q, j) => (await boss.complete(q, id(j))).affected,
    fail: async (q, j) => (await boss.fail(q, id(j))).affected,
    cancel: async (q, j) => (await boss.cancel(q, id(j))).affected,
    resume: async (q, j) => (await boss.resume(q, id(j))).affected,
    retry: async (q, j) => (await boss.retry(q, id(j))).affected,
    delete: async (q, j) => (await boss.deleteJob(q, id(j))).affected,
    state: async (q, j) => (await find(q, j)).state,
    limit: async (q, j) => (await find(q, j)).retryLimit,
    deferred: async (q, j) => { const job = await find(q, j); return job.startAfter > new Date() },
    states: async q => (await all(q)).map(j => j.state),
    datas: async q => (await all(q)).map(j => j.data.n),
    count: async q => (await all(q)).length,
    adopt: async q => (await all(q)).map(j => label(j.id)),
    blocked: async q => await boss.getBlockedKeys(q),
    letters: async q => (await all(q)).map(j => ({ data: j.data, key: j.singletonKey, source: j.sourceName, retry_count: j.sourceRetryCount, retry_limit: j.retryLimit, state: j.state })),
    redrive: async (q, o) => { const { source, ...rest } = o; return await boss.redrive(q, { ...rest, ...(source && { sourceName: source }) }) },
    publish: async e => { await boss.publish(e, {}).catch(() => {}); return null },
    subscribe: async (e, q) => { await boss.subscribe(e, q); return null },
    unsubscribe: async (e, q) => { await boss.unsubscribe(e, q); return null },
    supervise: async q => { await pause(1.1); await boss.supervise(q); return null }, // its passes keep their distance
    wait: async seconds => { await pause(seconds); return null },
    touch: async (q, j) => (await boss.touch(q, id(j))).affected,
    retries: async (q, j) => (await find(q, j)).retryCount,
    output: async (q, j) => (await find(q, j)).output,
    message: async (q, j) => { const { output } = await find(q, j); return (output.value ?? output).message },
    handle: async (q, j, how, state) => {
      await boss.work(q, { pollingIntervalSeconds: 0.5 }, () => behave(how))
      while ((await find(q, j)).state !== state) await pause(0.05)
      await boss.offWork(q, { wait: false })
      return state
    },
    stop: async (q, j, how, grace) => {
      const other = await make(number, {})
      await other.work(q, { pollingIntervalSeconds: 0.5 }, () => behave(how))
      while ((await find(q, j)).state !== 'active') await pause(0.05)
      await other.stop({ timeout: grace * 1000 })
      return null
    },
    stats: async q => {
      const [s] = await boss.getQueueStats(q)
      return { queued: s.queuedCount, deferred: s.deferredCount, ready: s.readyCount, active: s.activeCount, failed: s.failedCount, total: s.totalCount }
    },
    transact: async (q, commits) => {
      const client = new Client(JSON.parse(process.argv[3]))
      await client.connect()
      await client.query('BEGIN')
      const sent = await boss.send(q, {}, { db: { executeSql: (text, values) => client.query(text, values) } })
      await client.query(commits ? 'COMMIT' : 'ROLLBACK')
      await client.end()
      return sent !== null
    },
    preview: async (cron, tz, from, count) => boss.previewSchedule(cron, { tz, from: new Date(from), count }).map(at => at.toISOString()),
    upsert: async (q, data, o) => { const r = await boss.upsert(q, data, options(o)); return [r.updated, r.inserted] }
  }
  for (const [verb, ...rest] of steps) {
    try {
      answers[title].push(await verbs[verb](...rest) ?? null)
    } catch (error) {
      answers[title].push(`error: ${error.message}`)
    }
  }
  await boss.stop({ graceful: false }).catch(() => {})
}
const waiting = Object.entries(input).map(([title, steps], number) => [title, steps, number + 1])
const turns = async () => { while (waiting.length) await play(...waiting.shift()) }
await Promise.all(Array.from({ length: 12 }, turns))
console.log(JSON.stringify(answers, null, 1))
process.exit(0)
