/**
 * The trail in the console: a refusal found and explained exactly as `postern explain` explains it, the trail verified and exported on
 * every instance, and who used what last. Two instances on one Redis, a real browser.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ConditionRow, type RuleRow, treeOf } from '../src/administration/decision-tree.ts'
import { durationWords } from '../src/control/console/instants.ts'
import type { Explanation } from '../src/policy/explain.ts'
import { Client } from './support/client.ts'
import { type Seat, type Stage, startStage } from './support/console.ts'
import { runCommand, waitFor } from './support/rig.ts'

const resultWords = { true: 'holds', false: 'does not hold', unknown: 'unknown' }

describe('the trail in the console', () => {
  let stage: Stage
  let alice: Seat
  /** The request of bob that was refused, by the other instance. */
  let request: string

  beforeAll(async () => {
    stage = await startStage({
      policy: { levels: { healthy: { device: { managed: true, disk_encrypted: true } } } },
      apps: [
        { id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] },
        {
          id: 'payroll',
          rules: [
            { name: 'finance, from a healthy device', allow: { groups: ['finance'] }, when: ['healthy'] },
            { name: 'no deleting', deny: { everyone: true }, methods: ['DELETE'] },
          ],
        },
      ],
    })
    alice = await stage.seat('alice')
    const bob = new Client()
    bob.detours.set(stage.rig.port, stage.rig.instances[1]?.port ?? 0)
    await stage.rig.signIn(bob, 'bob', `${stage.rig.origin('app')}/ok`)
    await stage.rig.signIn(bob, 'bob', `${stage.rig.origin('payroll')}/runs`)
    const answer = await bob.send(`${stage.rig.origin('payroll')}/runs?month=11`, { as: 'fetch' })
    expect(answer.status).toBe(403)
    request = answer.header('x-postern-request') ?? ''
  })
  afterAll(() => stage?.close())

  test('a refusal is found by person, app and reason, and opens to what postern explain says of it', async () => {
    const { page } = alice
    await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'Trail' }).click()
    await page.getByLabel('Who', { exact: true }).fill('bob@corp.example')
    await page.getByLabel('App', { exact: true }).fill('payroll')
    await page.getByLabel('Came out').selectOption('deny')
    await page.getByText('More to search by').click()
    await page.getByLabel('Reason', { exact: true }).fill('no_rule_matched')
    const link = page.locator(`[data-slot="what"] a[href$="${request}"]`)
    await waitFor(async () => {
      await page.getByRole('button', { name: 'Search', exact: true }).last().click()
      await page.locator('main').waitFor()
      return (await link.count()) === 1
    })
    expect(await page.locator('[data-trail-list] tbody tr').filter({ hasNotText: 'payroll' }).count()).toBe(0)
    await link.click()
    await page.getByRole('heading', { level: 1, name: 'payroll' }).waitFor()

    const { code, stderr, stdout } = await runCommand([
      ...['explain', request, '--json', '--config', join(stage.rig.instances[1]?.folder ?? '', '..', 'postern-1.yaml')],
    ])
    expect([code, stderr]).toEqual([1, ''])
    const told = JSON.parse(stdout) as Explanation & { readonly recorded: Readonly<Record<string, string>> }
    const recorded = await page.locator('section[aria-labelledby="recorded"]').innerText()
    expect(recorded).toContain(told.recorded['reason'])
    expect(recorded).toContain(request)
    const at = Date.parse(told.recorded['at'] ?? '')
    expect(told.recorded['rule']).toBe('finance, from a healthy device')
    expect(recorded).toContain(told.recorded['rule'])

    const rules = await page.locator('.decision-rule').evaluateAll((elements) =>
      elements.map((element) => ({
        verb: element.querySelector('summary .badge')?.textContent,
        name: element.querySelector('summary strong')?.textContent,
        isDeciding: element.querySelector('summary')?.textContent?.includes('this decided') === true,
        says: element.querySelector('p')?.textContent,
        rows: [...element.querySelectorAll('tbody tr')].map((row) => [...row.querySelectorAll('th, td')].map((cell) => cell.textContent)),
      })),
    )
    expect(rules).toEqual(treeOf(told, at).map(asShown))
    // Nothing of this is empty: who, and each condition with what it was, what it should be and where that came from.
    expect(rules.flatMap(({ rows }) => rows).some((row) => row.includes('ID Token and userinfo'))).toBe(true)
  })

  test('is verified on both instances while the page shows how far it is', async () => {
    const { page } = alice
    await page.goto(stage.at('/console/trail/verify'))
    await page.getByRole('button', { name: 'Verify now' }).click()
    expect(await page.locator('.run-parts progress').count()).toBe(2)
    await page.locator('section[aria-labelledby="chains"]').waitFor()
    expect(await page.locator('.run-parts li').count()).toBe(2)
    // A command that was run beside an instance has a chain of its own there.
    const chains = await page.locator('.verify-chains > li > p:first-child').allInnerTexts()
    expect(new Set(chains.map((text) => text.split(' on ').at(-1))).size).toBe(2)
    expect(await page.locator('.verify-chains > li:has(.badge.bad)').allInnerTexts()).toEqual([])
    expect(await page.locator('.notice-bar.bad').count()).toBe(0)
    expect(await page.locator('.notice-bar.good, .notice-bar.info').first().innerText()).toMatch(/verified/i)
  })

  test('is exported in one file from both instances', async () => {
    const { page } = alice
    await page.goto(stage.at('/console/trail?subject=bob@corp.example&effect=deny'))
    await page.getByRole('link', { name: 'Export' }).click()
    const day = (offset: number) => new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 16)
    await page.getByLabel('From (UTC)').fill(day(-1))
    await page.getByLabel('Until (UTC)').fill(day(1))
    await page.getByLabel('Format').selectOption('ndjson')
    const waiting = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Download' }).click()
    const download = await waiting
    expect(download.suggestedFilename()).toMatch(/^audit-.*\.ndjson$/)
    const lines = (await readFile(await download.path(), 'utf8')).trim().split('\n')
    const events = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(events.some((line) => line['request'] === request)).toBe(true)
    expect(events.every((line) => line['effect'] === 'deny')).toBe(true)
    expect(
      (await stage.rig.audit()).some(({ actor, event, what }) => event === 'data.read' && actor === 'person:alice' && what === 'audit'),
    ).toBe(true)
  })

  test('says who has access to what, and when they last used it', async () => {
    const { page } = alice
    await page.getByRole('navigation', { name: 'Console' }).getByRole('link', { name: 'Access review' }).click()
    await page.getByRole('button', { name: 'Review', exact: true }).click()
    await page.getByRole('region', { name: 'Access' }).waitFor()
    const row = page.getByRole('region', { name: 'Access' }).getByRole('row').filter({ hasText: 'bob' }).filter({ hasText: 'app' }).first()
    expect(await row.innerText()).toContain('staff')
    const used = await row.locator('td').nth(5).locator('time').getAttribute('datetime')
    expect(Date.now() - Date.parse(used ?? '')).toBeLessThan(300_000)
    const waiting = page.waitForEvent('download')
    await page.getByRole('link', { name: 'Export CSV' }).click()
    expect(await readFile(await (await waiting).path(), 'utf8')).toContain('bob')
    expect(alice.complaints).toEqual([])
  })
})

/** A rule as its page writes it. */
function asShown(rule: RuleRow): object {
  const rowsOf = (row: ConditionRow): readonly (readonly string[])[] =>
    row.kind === 'group'
      ? [[row.label, resultWords[row.outcome], '', '', '', ''], ...row.of.flatMap(rowsOf)]
      : [[row.fact, resultWords[row.outcome], row.got, row.wanted, row.source, row.ageMs === undefined ? '' : durationWords(row.ageMs)]]
  return {
    verb: rule.verb,
    name: rule.name,
    isDeciding: rule.isDeciding,
    says: rule.says,
    rows: rule.parts.flatMap(({ of, outcome, place }) => [[place, resultWords[outcome], ''], ...of.flatMap(rowsOf)]),
  }
}
