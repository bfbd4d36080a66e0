/**
 * A policy that two people publish, and a policy that is files: what the console offers, and what it refuses to whoever asks past it. Two
 * instances on one Redis, a real browser.
 */

import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { makeToken, type Seat, type Stage, startStage, submitRaw } from './support/console.ts'
import { awaitTrial, changeGroupOfRule, draftPath, managed, publish, tryDraft } from './support/console-policy.ts'
import { waitFor } from './support/rig.ts'

const apps = [{ id: 'app', name: 'Back office', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }]

describe('a policy that two people publish', () => {
  let stage: Stage
  let alice: Seat
  let adele: Seat

  beforeAll(async () => {
    stage = await startStage({ apps, configuration: { ...managed, policy_two_person: true } })
    alice = await stage.seat('alice')
    adele = await stage.seat('adele', { instance: 1 })
  })
  afterAll(() => stage?.close())

  test('is published once another admin has approved exactly what it says, and by nobody alone', async () => {
    await alice.page.goto(stage.at('/console/apps/app'))
    await changeGroupOfRule(alice.page, 'staff', 'finance')
    await tryDraft(alice.page)
    const draft = draftPath(alice.page)
    expect(await alice.page.getByRole('button', { name: /^(?:Publish|Approve)$/ }).count()).toBe(0)
    await alice.page.getByRole('button', { name: 'Ask for approval' }).click()
    await alice.page.locator('.notice-bar.good').waitFor()

    // Her own approval, by hand.
    const client = await stage.client('alice')
    const page = await client.send(stage.at(draft))
    const hash =
      /name="hash" value="([^"]+)"/.exec((await adele.page.request.get(stage.at(draft)).then((answer) => answer.text())) ?? '')?.[1] ?? ''
    const approved = await submitRaw(client, stage.at(`${draft}/approve`), { hash }, { page })
    expect(approved.status).toBe(403)
    const raw = await submitRaw(client, stage.at(`${draft}/publish`), { hash, comment: 'alone' }, { page })
    expect(raw.status).toBe(403)

    await adele.page.goto(stage.at('/console/policy'))
    await adele.page.getByRole('region', { name: 'Open drafts' }).getByRole('rowheader').getByRole('link').first().click()
    await awaitTrial(adele.page)
    await adele.page.getByRole('button', { name: 'Approve' }).click()
    await adele.page.locator('.notice-bar.good', { hasText: 'You approved' }).waitFor()

    // Changed after the approval, it is not what was approved.
    await alice.page.goto(stage.at(`${draft}/apps/app`))
    await alice.page.getByRole('region', { name: 'Table of rules' }).getByRole('link', { name: 'staff', exact: true }).click()
    await alice.page.locator('section[aria-labelledby="rule-who"] .rule-row input').first().fill('engineering')
    await alice.page.getByRole('button', { name: 'Save in the draft' }).click()
    await alice.page.locator('.notice-bar.good').waitFor()
    await alice.page.goto(stage.at(draft))
    await awaitTrial(alice.page)
    expect(await alice.page.getByRole('button', { name: 'Publish', exact: true }).count()).toBe(0)

    await alice.page.getByRole('button', { name: 'Ask for approval' }).click()
    await alice.page.locator('.notice-bar.good').waitFor()
    await adele.page.goto(stage.at(draft))
    await awaitTrial(adele.page)
    await adele.page.getByRole('button', { name: 'Approve' }).click()
    await adele.page.locator('.notice-bar.good', { hasText: 'You approved' }).waitFor()
    await alice.page.reload()
    await publish(alice.page)
    expect(await alice.page.locator('section[aria-labelledby="facts"]').innerText()).toContain('adele')

    const henry = new Client()
    henry.detours.set(stage.rig.port, stage.rig.instances[1]?.port ?? 0)
    await stage.rig.signIn(henry, 'henry', `${stage.rig.origin('app')}/ok`)
    await waitFor(async () => (await henry.send(`${stage.rig.origin('app')}/ok`, { as: 'fetch' })).status === 403)
    expect([...alice.complaints, ...adele.complaints]).toEqual([])
  })

  test('lets a token make drafts, and nothing else', async () => {
    const client = await stage.client('alice')
    const token = await makeToken(stage, client, 'Pipeline', ['policy:read', 'policy:write', 'policy:publish'])
    const order = (method: string, path: string, body?: object) =>
      new Client().send(stage.at(`/api/v1${path}`), {
        as: 'fetch',
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      })
    const app = { id: 'wiki', name: 'Wiki', url: stage.rig.origin('wiki'), upstream: stage.rig.upstream('app').origin }
    const begun = await order('POST', '/apps', { ...app, who: { kind: 'groups', values: ['staff'] } })
    expect(begun.status, begun.body).toBe(200)
    const { draft: id } = JSON.parse(begun.body) as { readonly draft: string }
    const { body } = await order('GET', `/policy/drafts/${id}`)
    const { hash } = JSON.parse(body) as { readonly hash: string }
    const published = await order('POST', `/policy/drafts/${id}/publish`, { hash })
    expect(published.status, published.body).toBe(403)
    expect((await order('POST', `/policy/drafts/${id}/approve`, { hash })).status).toBe(403)
  })
})

describe('a policy that is files', () => {
  let stage: Stage
  let alice: Seat

  beforeAll(async () => {
    stage = await startStage({ apps })
    alice = await stage.seat('alice')
  })
  afterAll(() => stage?.close())

  test('is shown, tried and handed out, and published by nobody', async () => {
    const { page } = alice
    await page.goto(stage.at('/console/policy'))
    expect(await page.locator('.page-head').innerText()).toContain('Made of files')
    await page.goto(stage.at('/console/apps/app'))
    await changeGroupOfRule(page, 'staff', 'finance')
    await tryDraft(page)
    const draft = draftPath(page)
    expect(await page.locator('#part-publish').innerText()).toContain('nothing is published from this console')
    expect(await page.getByRole('button', { name: /^(?:Publish|Approve|Ask for approval)$/ }).count()).toBe(0)
    await page.getByRole('link', { name: 'Hand out files' }).click()
    const waiting = page.waitForEvent('download')
    await page
      .getByRole('region', { name: 'Files' })
      .getByRole('link', { name: /^Download/ })
      .click()
    expect(await readFile(await (await waiting).path(), 'utf8')).toContain('finance')

    const client = await stage.client('alice')
    const form = await client.send(stage.at(draft))
    const hash = /name="hash" value="([^"]+)"/.exec(form.body)?.[1] ?? '0'.repeat(64)
    for (const [path, fields] of [
      [`${draft}/publish`, { hash, comment: 'past the page' }],
      [`${draft}/propose`, { version: '1' }],
      ['/console/policy/revisions/1/restore', { head: '1', comment: 'past the page' }],
    ] as const) {
      const answer = await submitRaw(client, stage.at(path), fields, { page: form })
      expect([path, Math.trunc(answer.status / 100)]).toEqual([path, 4])
    }
    const henry = new Client()
    await stage.rig.signIn(henry, 'henry', `${stage.rig.origin('app')}/ok`)
    expect((await henry.send(`${stage.rig.origin('app')}/ok`, { as: 'fetch' })).status).toBe(200)
    expect((await stage.rig.audit()).filter(({ event }) => event === 'policy.published')).toEqual([])
    expect(alice.complaints).toEqual([])
  })
})
