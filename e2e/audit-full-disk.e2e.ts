/**
 * The disk of the trail is full: apps that demand a record are closed and say why, others go on and what they lose is counted, ends are
 * written all the same, and everything is as before within seconds of there being room again.
 */

import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { configurationFileOf, verifyAudit } from './support/audit-check.ts'
import { Client } from './support/client.ts'
import { type Rig, runCommand, startRig, waitFor } from './support/rig.ts'
import { mountSmallDisk, type SmallDisk } from './support/small-disk.ts'

/** Beyond what an instance keeps in reserve. */
const megabytes = 40

const dataFolder = join(tmpdir(), `postern-small-disk-${process.pid}`)
const disk: SmallDisk | undefined = await mountSmallDisk(join(dataFolder, 'audit'), megabytes)

describe.skipIf(disk === undefined)('a trail on a disk that is full', () => {
  let rig: Rig
  const alice = new Client()
  const bob = new Client()
  const payroll = () => `${rig.origin('payroll')}/run`
  const wiki = () => `${rig.origin('wiki')}/page`

  beforeAll(async () => {
    const rules = [{ name: 'staff', allow: { groups: ['staff'] } }]
    rig = await startRig({
      store: 'redis',
      apps: [
        { id: 'payroll', sensitivity: 'restricted', rules },
        { id: 'wiki', rules },
      ],
      configuration: { data_dir: dataFolder },
    })
    expect((await rig.signIn(alice, 'alice', payroll())).status).toBe(200)
    expect((await alice.follow(wiki())).status).toBe(200)
    expect((await rig.signIn(bob, 'bob', wiki())).status).toBe(200)
  })
  afterAll(async () => {
    await rig?.stop()
    await disk?.unmount()
    await rm(dataFolder, { recursive: true, force: true })
  })

  const audit = () => rig.audit({ ...rig.instance, folder: dataFolder })
  const metric = async (name: string) => {
    const { body } = await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/metrics`)
    return Number(new RegExp(`^${name} (.+)$`, 'm').exec(body)?.[1])
  }

  test('closes what demands a record, counts what it loses, still writes ends, and recovers by itself', async () => {
    await waitFor(async () => (await audit()).some((line) => line['event'] === 'access.ended'))
    await disk?.fill()

    // The first lines that find no room make it known.
    await waitFor(async () => {
      await alice.send(wiki(), { as: 'fetch' })
      return (await alice.send(payroll(), { as: 'fetch' })).status === 503
    }, 20_000)
    const seenBefore = rig.upstream('payroll').requests().length
    for (let round = 0; round < 20; round += 1) {
      const refused = await alice.send(payroll(), { as: 'fetch' })
      expect(refused.status).toBe(503)
      expect(refused.header('x-postern')).toBe('audit_unavailable')
      expect((await alice.send(wiki(), { as: 'fetch' })).status).toBe(200)
    }
    expect(rig.upstream('payroll').requests()).toHaveLength(seenBefore)
    const page = await alice.send(payroll())
    expect(page.status).toBe(503)
    expect(page.body).toContain('<!doctype html>')
    expect(await metric('postern_audit_lost_lines_total')).toBeGreaterThan(40)

    // Ends have room of their own.
    const revoked = await runCommand(['sessions', 'revoke', '--subject', 'bob@corp.example', '--config', configurationFileOf(rig)])
    expect(revoked.code, revoked.stderr).toBe(0)
    await waitFor(async () => (await bob.send(wiki(), { as: 'fetch' })).status === 401)
    const signOut = await alice.send(`${rig.origin('wiki')}/.postern/sign-out`, {
      method: 'POST',
      body: '',
      headers: { origin: rig.origin('wiki'), 'sec-fetch-site': 'same-origin', 'content-type': 'application/x-www-form-urlencoded' },
    })
    expect(signOut.status).toBe(303)
    await waitFor(async () => (await audit()).some((line) => line['event'] === 'session.ended' && line['cause'] === 'signed_out'))

    await disk?.free()
    const again = new Client()
    await waitFor(async () => (await rig.signIn(again, 'alice', payroll())).status === 200, 10_000)
    let resumed: Readonly<Record<string, unknown>> | undefined
    await waitFor(async () => {
      resumed = (await audit()).find((line) => line['event'] === 'audit.resumed')
      return resumed !== undefined
    })
    expect(resumed?.['lost']).toBe(await metric('postern_audit_lost_lines_total'))
    expect((await new Client().send(`http://127.0.0.1:${rig.instance.operationsPort}/readyz`)).status).toBe(200)

    const verified = await verifyAudit(rig)
    expect(verified.code, verified.text).toBe(0)
    console.log(`full: ${String(resumed?.['lost'])} lines dropped and counted; ${verified.chains.map(({ lines }) => lines)} lines verify`)
  })
})
