/**
 * From a new app to its first allowed request, and a rule changed with its impact shown, published, followed by the other instance and
 * undone; all of it on screen. Two instances on one Redis, a managed policy.
 */

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { type Seat, type Stage, startStage } from './support/console.ts'
import { awaitTrial, beginNewApp, changeGroupOfRule, managed, publish, tryDraft } from './support/console-policy.ts'
import { waitFor } from './support/rig.ts'

const secondMs = 1000

describe('a managed policy in the console', () => {
  let stage: Stage
  let alice: Seat
  /** On the other instance. */
  let henry: Client

  beforeAll(async () => {
    stage = await startStage({
      configuration: managed,
      apps: [{ id: 'app', name: 'Back office', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }],
    })
    alice = await stage.seat('alice')
    henry = new Client()
    henry.detours.set(stage.rig.port, stage.rig.instances[1]?.port ?? 0)
    await stage.rig.signIn(henry, 'henry', `${stage.rig.origin('app')}/ok`)
  })
  afterAll(() => stage?.close())

  const statusOf = async (client: Client, url: string) => (await client.send(url, { as: 'fetch' })).status
  const becomes = (url: string, wanted: number) => waitFor(async () => (await statusOf(henry, url)) === wanted, 5000)

  test('a new app goes from nothing to its first allowed request in under a minute', async () => {
    const { page } = alice
    const url = stage.rig.origin('wiki')
    const before = Date.now()
    await beginNewApp(page, { id: 'wiki', name: 'Wiki', url, upstream: stage.rig.upstream('app').origin, group: 'finance' })
    await tryDraft(page)
    expect(await page.locator('#part-changes').innerText()).toMatch(/wiki/i)
    expect(await page.locator('#part-problems .badge').first().innerText()).toBe('none')
    await publish(page, 'A wiki for finance')
    const bob = await stage.seat('bob', { instance: 1, url: `${url}/page` })
    expect(await bob.page.innerText('body')).toContain('/page')
    expect(Date.now() - before).toBeLessThan(60_000)
    expect(
      stage.rig
        .upstream('app')
        .requests()
        .some(({ target }) => target === '/page'),
    ).toBe(true)
    await page.goto(stage.at('/console/apps/wiki'))
    expect(await page.locator('section[aria-labelledby="rules-title"]').innerText()).toMatch(/finance/i)
    await bob.context.close()
  })

  test('a rule is changed with its impact on real people shown, published, followed within a second, and undone by restoring', async () => {
    const { page } = alice
    const url = `${stage.rig.origin('app')}/ok`
    expect(await statusOf(henry, url)).toBe(200)
    await page.goto(stage.at('/console/apps'))
    await page.getByRole('region', { name: 'Apps' }).getByRole('link', { name: 'Back office' }).click()
    await changeGroupOfRule(page, 'staff', 'finance')
    await tryDraft(page)
    await page.getByRole('button', { name: 'Show the impact' }).click()
    await page.locator('#part-impact table.draft-impact').first().waitFor()
    const lost = page.locator('#part-impact table.draft-impact').first()
    expect(await lost.innerText()).toContain('henry')
    expect(await lost.innerText()).toContain('app')
    expect(await lost.innerText()).not.toContain('bob')
    // Each with an example to look at.
    expect(
      await lost
        .getByRole('link', { name: /^Example 1 of/ })
        .first()
        .getAttribute('href'),
    ).toMatch(/\/console\/trail\/decisions\//)

    const published = await publish(page, 'The back office is for finance')
    await becomes(url, 403)
    expect(Date.now() - published).toBeLessThan(secondMs)

    await page.getByRole('link', { name: 'Revision 2', exact: true }).first().click()
    await page.getByLabel('Why').fill('Everybody needs it after all')
    for (const label of await page.locator('.draft-gates label').all())
      await page.locator(`#${await label.getAttribute('for')}`).fill(await label.locator('.mono').innerText())
    const restored = Date.now()
    await page.getByRole('button', { name: 'Restore revision 2' }).click()
    await page.locator('.notice-bar.good').waitFor()
    await becomes(url, 200)
    expect(Date.now() - restored).toBeLessThan(secondMs)
    await page.goto(stage.at('/console/policy'))
    const history = page.getByRole('region', { name: 'History' })
    expect(await history.getByRole('rowheader').allInnerTexts()).toEqual([
      expect.stringContaining('Revision 4'),
      'Revision 3',
      'Revision 2',
      'Revision 1',
    ])
    expect(await history.innerText()).toContain('restores revision 2')
    // The other one says so at its next look.
    await waitFor(async () => {
      await page.goto(stage.at('/console/policy'))
      return (await page.locator('section[aria-labelledby="instances"]').innerText()).includes('All 2 instances')
    })
    expect(alice.complaints).toEqual([])
  })

  test('what if: one request decided by the policy in force and by a draft, with each condition', async () => {
    const { page } = alice
    await page.goto(stage.at('/console/apps/app'))
    await changeGroupOfRule(page, 'staff', 'finance')
    await tryDraft(page)
    await page.getByRole('link', { name: /What if/ }).click()
    await page.getByLabel('Who', { exact: true }).fill('henry@corp.example')
    await page.getByLabel('What they open').fill(`${stage.rig.origin('app')}/ok`)
    await page.getByRole('button', { name: 'Decide' }).click()
    const sides = page.locator('.what-if-sides > section')
    await sides.nth(1).waitFor()
    const badges = await sides.locator('h2 .badge').allInnerTexts()
    expect(badges.map((word) => word.toLowerCase())).toEqual(['allowed', 'denied'])
    expect(await sides.nth(0).innerText()).toContain('staff')
    expect(await sides.nth(1).locator('.decision-table').first().innerText()).toContain('does not hold')
    expect(await page.locator('section[aria-labelledby="differs"]').count()).toBe(1)
    // Nothing of it let anybody in or kept anybody out.
    expect(await statusOf(henry, `${stage.rig.origin('app')}/ok`)).toBe(200)
    expect(alice.complaints).toEqual([])
  })

  test('what if: a request on record is decided again, as it was then, under a draft that would have refused it', async () => {
    const { page } = alice
    expect(await statusOf(henry, `${stage.rig.origin('app')}/ok`)).toBe(200)
    const decisions = page.locator('a[href*="/console/trail/decisions/"]')
    await waitFor(async () => {
      await page.goto(stage.at('/console/trail?app=app&subject=henry&effect=allow'))
      return (await decisions.count()) > 0
    })
    await decisions.first().click()
    await page.getByRole('link', { name: 'Decide it again under a draft' }).click()
    const drafts = page.getByLabel('Beside what is in force')
    await drafts.selectOption({ index: (await drafts.locator('option').count()) - 1 })
    await page.getByRole('button', { name: 'Decide' }).click()
    const badges = page.locator('.what-if-sides > section h2 .badge')
    await badges.nth(1).waitFor()
    expect((await badges.allInnerTexts()).map((word) => word.toLowerCase())).toEqual(['allowed', 'denied'])
    expect(alice.complaints).toEqual([])
  })

  test('two admins at once: the second is shown what the first published, merges it, and nothing is lost', async () => {
    const adele = await stage.seat('adele', { instance: 1 })
    const rules = async (app: string) => {
      await alice.page.goto(stage.at(`/console/apps/${app}`))
      return await alice.page.locator('section[aria-labelledby="rules-title"]').innerText()
    }
    await alice.page.goto(stage.at('/console/apps/app'))
    await changeGroupOfRule(alice.page, 'staff', 'engineering')
    await adele.page.goto(stage.at('/console/apps/wiki'))
    const [rule = ''] = await adele.page.locator('section[aria-labelledby="rules-title"] summary bdi').allInnerTexts()
    await changeGroupOfRule(adele.page, rule, 'contractors')
    await tryDraft(adele.page)

    await tryDraft(alice.page)
    await publish(alice.page, 'The back office is for engineering')
    await waitFor(async () => {
      await adele.page.reload()
      return (await adele.page.getByText('Something was published meanwhile').count()) > 0
    })
    expect(await adele.page.locator('.draft-moved').innerText()).toContain('The back office is for engineering')
    expect(await adele.page.locator('#part-publish form[action$="/publish"]').count()).toBe(0)
    await adele.page.getByRole('button', { name: 'Merge it into this draft' }).click()
    await adele.page.locator('.notice-bar.good', { hasText: 'Merged' }).waitFor()
    await awaitTrial(adele.page)
    await publish(adele.page, 'The wiki is for contractors')

    expect(await rules('app')).toMatch(/engineering/i)
    expect(await rules('wiki')).toMatch(/contractors/i)
    expect([...alice.complaints, ...adele.complaints]).toEqual([])
    await adele.context.close()
  })

  test('has every change in the trail, with its author', async () => {
    const lines = (await Promise.all(stage.rig.instances.map((instance) => stage.rig.audit(instance)))).flat()
    const published = lines.filter(({ event }) => event === 'policy.published')
    expect(published.map(({ actor }) => actor).sort((a, b) => String(a).localeCompare(String(b)))).toEqual(
      expect.arrayContaining(['person:adele', 'person:alice']),
    )
  })
})
