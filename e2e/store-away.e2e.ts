/**
 * The session store goes away and comes back. At most five seconds of memory, then 503 at once; never a pass, never a hang; afterwards
 * everybody goes on without a restart. And what a thief of the store finds in it.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'

describe('the session store goes away', () => {
  let rig: Rig
  beforeAll(async () => {
    rig = await startRig({ store: 'redis' })
  })
  afterAll(() => rig.stop())

  test('signed-in requests are refused at once, none passes, and people go on when it is back', async () => {
    const client = new Client()
    const url = `${rig.origin('app')}/ok`
    expect((await rig.signIn(client, 'alice', url)).status).toBe(200)

    await rig.redis?.stop()
    const stoppedAt = performance.now()
    await waitFor(async () => (await client.send(url, { as: 'fetch' })).status === 503, 8000)
    expect(performance.now() - stoppedAt).toBeLessThan(6500)

    const times: number[] = []
    const seenBefore = rig.upstream('app').requests().length
    for (let round = 0; round < 50; round += 1) {
      const from = performance.now()
      const answer = await client.send(url, { as: 'fetch' })
      times.push(performance.now() - from)
      expect(answer.status).toBe(503)
      expect(answer.header('x-postern')).toBe('session_store_unavailable')
      expect(answer.header('retry-after')).toBeDefined()
    }
    expect(rig.upstream('app').requests()).toHaveLength(seenBefore)
    expect(times.sort((a, b) => a - b)[25]).toBeLessThan(100)

    // What is locked is not known any more: strangers are refused as well.
    const open = `${rig.origin('app')}/public/page`
    expect((await new Client().send(open, { as: 'fetch' })).status).toBe(503)

    const newcomer = await rig.signIn(new Client(), 'bob', url)
    expect(newcomer.status).toBe(503)
    expect(newcomer.body).toContain('<!doctype html>')
    const ready = await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/readyz`)
    expect(ready.status).toBe(503)

    await rig.redis?.restart()
    await waitFor(async () => (await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/readyz`)).status === 200, 8000)
    await waitFor(async () => (await client.send(url, { as: 'fetch' })).status === 200, 8000)
    expect((await new Client().send(open, { as: 'fetch' })).status).toBe(200)
    expect((await rig.signIn(new Client(), 'bob', url)).status).toBe(200)
  })

  test('a paused store is a 503 within its limit, and the same session goes on afterwards', async () => {
    const client = new Client()
    const url = `${rig.origin('app')}/ok`
    await rig.signIn(client, 'alice', url)
    rig.redis?.pause()
    try {
      await waitFor(async () => (await client.send(url, { as: 'fetch' })).status === 503, 10_000)
      const from = performance.now()
      expect((await client.send(url, { as: 'fetch' })).status).toBe(503)
      expect(performance.now() - from).toBeLessThan(2500)
    } finally {
      rig.redis?.resume()
    }
    await waitFor(async () => (await client.send(url, { as: 'fetch' })).status === 200, 8000)
  })

  test('a full dump of the store shows no name, e-mail address, token or session id', async () => {
    const client = new Client()
    await rig.signIn(client, 'alice', `${rig.origin('app')}/ok`)
    const dump = (await rig.redis?.dump()) ?? ''
    expect(dump.length).toBeGreaterThan(500)
    const secrets = [
      client.cookie('postern', 'access.corp.localhost'),
      client.cookie('postern-app', 'app.corp.localhost'),
      'alice',
      'Alice',
      'corp.example',
      'eyJ',
      'rig-client-secret',
    ]
    for (const secret of secrets) expect(dump).not.toContain(secret)
  })
})
