/**
 * People and what ends for them, in the console: found, looked at, cut off and let back in, while they have something open on the other
 * instance. Two instances on one Redis, real browsers on both.
 */

import type { Page } from 'playwright'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { answerWithSocketPage, awaitClosedSocket, openSocketPage, type Seat, type Stage, startStage } from './support/console.ts'
import { waitFor } from './support/rig.ts'

/** As the contract says: an end is an end within a second, everywhere. */
const secondMs = 1000

describe('a person in the console', () => {
  let stage: Stage
  let alice: Seat
  let app: string

  beforeAll(async () => {
    stage = await startStage({ apps: [{ id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }] })
    stage.rig.upstream('app').answerWith(answerWithSocketPage)
    app = `${stage.rig.origin('app')}/socket`
    alice = await stage.seat('alice')
  })
  afterAll(() => stage?.close())

  /** From the overview to the person, as an admin goes. */
  async function findPerson(page: Page, email: string): Promise<void> {
    await page.goto(stage.at('/console'))
    await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'People' }).click()
    await page.getByLabel('E-mail, name or sub').fill(email)
    await page.getByRole('button', { name: 'Find' }).click()
    await page.getByRole('region', { name: 'People' }).getByRole('rowheader').first().getByRole('link').click()
    await page.getByText(email).first().waitFor()
  }
  /** The directory is read again every few seconds: a session of a moment ago may not be in it yet. */
  const showsSession = (page: Page, browser: string) =>
    waitFor(async () => {
      await page.reload()
      return (await page.getByRole('region', { name: 'Table of sessions' }).getByRole('row', { name: browser }).count()) > 0
    })

  test('shows where they are signed in: place, browser, apps; and what was decided', async () => {
    const bob = await stage.seat('bob', { url: app, instance: 1 })
    await findPerson(alice.page, 'bob@corp.example')
    await showsSession(alice.page, 'Chrom')
    const row = alice.page.getByRole('region', { name: 'Table of sessions' }).getByRole('row', { name: 'Chrom' })
    expect(await row.innerText()).toContain('127.0.0.1')
    expect(await row.innerText()).toContain('app')
    expect(await alice.page.locator('#identity + dl').innerText()).toContain('finance')
    await waitFor(async () => {
      await alice.page.reload()
      return (await alice.page.locator('section[aria-labelledby="decisions"]').innerText()).includes('app')
    })
    await bob.context.close()
  })

  test('loses a session on the other instance within a second, and the page that is open there says so', async () => {
    const bob = await stage.seat('bob', { url: app, instance: 1 })
    await openSocketPage(bob.page, app)
    await findPerson(alice.page, 'bob@corp.example')
    await showsSession(alice.page, 'Chrom')
    const before = Date.now()
    await alice.page.getByRole('button', { name: 'End all sessions' }).click()
    await alice.page.locator('.notice-bar.good').waitFor()
    const closed = await awaitClosedSocket(bob.page)
    expect(closed.code).toBe(4401)
    expect(closed.at - before).toBeLessThan(secondMs)
    await bob.page.goto(app)
    expect(new URL(bob.page.url()).pathname).toContain('/interaction/')
    expect(await alice.page.locator('.notice-bar.good').innerText()).toMatch(/ended/i)
    await bob.context.close()
  })

  test('is locked with a reason and an end, is shown that, and comes back when it is lifted', async () => {
    const bob = await stage.seat('bob', { url: app, instance: 1 })
    await openSocketPage(bob.page, app)
    await findPerson(alice.page, 'bob@corp.example')
    await alice.page.locator('#lock-reason').fill('laptop left in a taxi')
    await alice.page.locator('#lock-end-0').check()
    const before = Date.now()
    await alice.page.getByRole('button', { name: 'Lock', exact: true }).click()
    await alice.page.locator('.notice-bar.good').waitFor()
    const closed = await awaitClosedSocket(bob.page)
    expect(closed.code).toBe(4403)
    expect(closed.at - before).toBeLessThan(secondMs)

    const answer = await bob.page.goto(app)
    expect([answer?.status(), answer?.headers()['x-postern']]).toEqual([403, 'locked'])
    // The reason is for administrators.
    expect(await bob.page.locator('main').innerText()).not.toContain('taxi')

    const facts = alice.page.locator('section[aria-labelledby="locked"]')
    expect(await facts.innerText()).toContain('laptop left in a taxi')
    expect(await facts.innerText()).toContain('alice')
    expect(await facts.innerText()).not.toContain('it is lifted')
    await alice.page.goto(stage.at('/console/locks'))
    expect(await alice.page.locator('main').innerText()).toContain('laptop left in a taxi')
    await findPerson(alice.page, 'bob@corp.example')
    await alice.page.locator('#unlock-reason').fill('found again')
    await alice.page.getByRole('button', { name: 'Lift the lock' }).click()
    await alice.page.locator('.notice-bar.good', { hasText: 'is lifted' }).waitFor()
    await waitFor(async () => (await bob.page.goto(app))?.status() === 200)
    await bob.context.close()
  })

  test('asks an admin twice who is about to lock themself out', async () => {
    await findPerson(alice.page, 'alice@corp.example')
    expect(await alice.page.getByText('This is you.').count()).toBe(1)
    await alice.page.locator('#lock-reason').fill('by mistake')
    await alice.page.getByRole('button', { name: 'Lock', exact: true }).click()
    await alice.page.getByText('Yes, lock me out').waitFor()
    expect((await alice.page.goto(stage.at('/console')))?.status()).toBe(200)
  })

  test('has what was done to them on record, by whom and why', async () => {
    const lines = await stage.rig.audit()
    expect(lines.filter(({ event }) => event === 'lock.set')).toMatchObject([
      { actor: 'person:alice', reason: 'laptop left in a taxi', until: expect.any(String) },
    ])
    expect(lines.filter(({ event }) => event === 'lock.lifted')).toMatchObject([{ actor: 'person:alice', reason: 'found again' }])
    expect(lines.filter(({ event, actor }) => event === 'data.read' && actor === 'person:alice').length).toBeGreaterThan(0)
    expect(alice.complaints).toEqual([])
  })
})
