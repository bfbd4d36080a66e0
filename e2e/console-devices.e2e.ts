/**
 * Devices and open connections in the console: registered there, reporting, blocked and let in again; and a connection of the other
 * instance seen and cut. Two instances on one Redis, a real browser.
 */

import { generateKeyPairSync } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { answerWithSocketPage, awaitClosedSocket, openSocketPage, type Seat, type Stage, startStage } from './support/console.ts'
import { runCommand, waitFor } from './support/rig.ts'

const secondMs = 1000

describe('devices and connections in the console', () => {
  let stage: Stage
  let alice: Seat
  let folder: string
  const config = () => join(stage.rig.instance.folder, '..', 'postern-0.yaml')

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-console-devices-'))
    stage = await startStage({
      // The demo's provider says nothing of devices: here everybody has the one that is called as they are.
      provider: { claims: { groups: ['groups'], device_id: 'sub' } },
      apps: [
        {
          id: 'app',
          rules: [
            { name: 'staff, on their own device', allow: { groups: ['staff'] }, when: [{ device: { known: true, disk_encrypted: true } }] },
          ],
        },
        { id: 'wiki', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
      ],
    })
    stage.rig.upstream('wiki').answerWith(answerWithSocketPage)
    alice = await stage.seat('alice')
  })
  afterAll(async () => {
    await stage?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('a device is registered, its posture shown with source and age; blocked it is refused, unblocked it is let in', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const key = join(folder, 'bob.key')
    await writeFile(key, privateKey.export({ type: 'pkcs8', format: 'pem' }))
    const bob = new Client()
    await stage.rig.signIn(bob, 'bob', `${stage.rig.origin('app')}/ok`)
    const other = new Client()
    other.detours.set(stage.rig.port, stage.rig.instances[1]?.port ?? 0)
    const status = async (client: Client) =>
      (
        await client.send(`${stage.rig.origin('app')}/ok`, {
          as: 'fetch',
          headers: { cookie: bob.cookieHeader(stage.rig.origin('app')), 'sec-fetch-site': 'same-origin' },
        })
      ).status
    const becomes = (wanted: number) => waitFor(async () => (await status(bob)) === wanted && (await status(other)) === wanted)
    expect(await status(bob)).toBe(403)

    const { page } = alice
    await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'Devices' }).click()
    await page.getByText('Register a device').click()
    await page.getByLabel('Id', { exact: true }).fill('bob')
    await page.getByLabel('Name', { exact: true }).fill('Laptop of Bob')
    await page.getByLabel('Owner', { exact: true }).fill('bob@corp.example')
    await page.getByLabel('Public key').fill(String(publicKey.export({ type: 'spki', format: 'pem' })))
    await page.getByRole('button', { name: 'Register' }).click()
    await page.locator('.notice-bar.good', { hasText: 'is registered' }).waitFor()
    expect(await page.locator('section[aria-labelledby="posture"]').innerText()).toContain('Nothing was heard of this device yet')
    const said = await runCommand([
      ...['device', 'submit', 'bob', '--key', key, '--config', config()],
      ...['--set', 'disk_encrypted=true', '--set', 'os=linux'],
    ])
    expect(said).toMatchObject({ code: 0 })
    await becomes(200)

    await page.goto(stage.at('/console/devices?q=laptop'))
    await page.getByRole('rowheader', { name: 'Laptop of Bob' }).getByRole('link').click()
    await waitFor(async () => {
      await page.reload()
      return (await page.getByRole('row', { name: 'disk_encrypted' }).count()) > 0
    })
    const posture = await page.getByRole('row', { name: 'disk_encrypted' }).innerText()
    expect(posture).toContain('report')
    expect(posture).toMatch(/ago|now/)
    await waitFor(async () => {
      await page.reload()
      return (await page.locator('section[aria-labelledby="users"]').innerText()).includes('bob')
    })

    await page.getByLabel('Reason').fill('seen in a pawn shop')
    await page.getByRole('button', { name: 'Block the device' }).click()
    await page.locator('.notice-bar.good', { hasText: 'The device is blocked' }).waitFor()
    expect(await page.locator('section[aria-labelledby="blocked"]').innerText()).toContain('seen in a pawn shop')
    await becomes(401)
    for (const app of ['app', 'wiki']) {
      const again = await stage.rig.signIn(bob, 'bob', `${stage.rig.origin(app)}/ok`)
      expect([again.status, again.header('x-postern')]).toEqual([403, 'locked'])
    }
    await page.getByRole('button', { name: 'Unblock' }).click()
    await page.locator('.notice-bar.good', { hasText: 'let in again' }).waitFor()
    await stage.rig.signIn(bob, 'bob', `${stage.rig.origin('app')}/ok`)
    await becomes(200)
    expect((await stage.rig.audit()).filter(({ device, event }) => device === 'bob' && event === 'device.blocked')).toMatchObject([
      { actor: 'person:alice', reason: 'seen in a pawn shop' },
    ])
  })

  test('a WebSocket of the other instance is listed while it is open, and cut', async () => {
    const url = `${stage.rig.origin('wiki')}/socket`
    const carl = await stage.seat('henry', { url, instance: 1 })
    await openSocketPage(carl.page, url)
    const { page } = alice
    await page.goto(stage.at('/console/connections?app=wiki'))
    const rows = page.getByRole('region', { name: 'Table of open connections' }).locator('tbody tr')
    await rows.filter({ hasText: 'henry' }).waitFor()
    expect(await rows.count()).toBe(1)
    const row = await rows.first().innerText()
    expect(row).toContain('/ws')
    expect(row).toContain('127.0.0.1')
    await page.getByLabel('Reason for a cut').fill('has to be looked at')
    await rows.first().getByRole('button', { name: 'Cut' }).click()
    const before = Date.now()
    await page.getByRole('dialog').getByRole('button', { name: 'Cut' }).click()
    await page.locator('.notice-bar.good', { hasText: 'was cut' }).waitFor()
    const closed = await awaitClosedSocket(carl.page)
    expect(closed.code).toBeGreaterThanOrEqual(4400)
    expect(closed.at - before).toBeLessThan(secondMs)
    await page.getByText('Nothing open fits').waitFor()
    // Whoever is cut stays signed in.
    expect((await carl.page.goto(url))?.status()).toBe(200)
    expect(alice.complaints).toEqual([])
    await carl.context.close()
  })

  test('a connection that is opened appears in the list by itself', async () => {
    const url = `${stage.rig.origin('wiki')}/socket`
    const { page } = alice
    await page.goto(stage.at('/console/connections?app=wiki&subject=audrey@corp.example'))
    await page.getByText('Nothing open fits').waitFor()
    const audrey = await stage.seat('audrey', { url, instance: 1 })
    await openSocketPage(audrey.page, url)
    await page.getByRole('region', { name: 'Table of open connections' }).locator('tbody tr').filter({ hasText: 'audrey' }).waitFor()
    await audrey.context.close()
    await page.getByText('Nothing open fits').waitFor()
    expect(alice.complaints).toEqual([])
  })
})
