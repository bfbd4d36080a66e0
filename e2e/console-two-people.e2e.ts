/**
 * A policy that two people publish, and a policy that is files: what the console offers, and what it refuses to whoever asks past it. Two
 * instances on one Redis, a real browser.
 */

import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { makeToken, type Seat, type Stage, startStage, submitRaw } from './support/console.ts'
import { draftHand } from './support/console-furniture.ts'
import { awaitTrial, changeGroupOfRule, draftPath, managed, publish, tryDraft } from './support/console-policy.ts'
import { waitFor } from './support/rig.ts'
import { noteSecret } from './support/secret-watch.ts'

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

  test('counts no approval of somebody who is locked by the time of publishing, and counts it again after', async () => {
    const client = await stage.client('alice')
    const other = await stage.client('adele')
    const hand = await draftHand(stage, client)
    const draft = await hand.beginApp('books', stage.rig.upstream('app').origin)
    await hand.act(draft, 'propose')
    await (await draftHand(stage, other)).act(draft, 'approve')
    const orders = await makeToken(stage, client, 'Locks', ['locks:write'])
    const order = (method: string, path: string, body: object) =>
      new Client().send(stage.at(`/api/v1${path}`), {
        as: 'fetch',
        method,
        headers: { authorization: `Bearer ${orders}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    expect((await order('POST', '/locks', { on: 'subject', name: 'adele', reason: 'left' })).status).toBe(200)
    let page = await client.send(stage.at(draft))
    await waitFor(async () => {
      page = await client.send(stage.at(draft))
      return page.body.includes('approved it and may not any more')
    })
    expect(page.body).not.toContain(`action="${draft}/publish"`)
    const reading = await makeToken(stage, client, 'Reading', ['policy:read'])
    const read = await new Client().send(stage.at(`/api/v1/policy/drafts/${draft.split('/').at(-1)}`), {
      as: 'fetch',
      headers: { authorization: `Bearer ${reading}` },
    })
    const { hash: seen } = JSON.parse(read.body) as { readonly hash: string }
    const refused = await submitRaw(client, stage.at(`${draft}/publish`), { hash: seen }, { page })
    expect(refused.status).toBe(403)
    expect((await order('DELETE', '/locks/subject/adele', { reason: 'back' })).status).toBe(200)
    const published = await submitRaw(client, stage.at(`${draft}/publish`), { hash: seen }, { page })
    expect(published.status, published.body.slice(0, 2000)).toBe(303)
  })

  test('lets nobody approve what a token drafted whose text they may have, because they rotated it', async () => {
    const client = await stage.client('alice')
    const other = await stage.client('adele')
    const made = await makeToken(stage, client, 'Rotated', ['policy:read', 'policy:write', 'policy:publish'])
    const [, id = ''] = made.split('_')
    const tokenPage = await other.send(stage.at(`/console/tokens/${id}`))
    const rotated = await submitRaw(other, stage.at(`/console/tokens/${id}/rotate`), { grace_seconds: '0' }, { page: tokenPage })
    const [token = ''] = /pst_[0-9A-Za-z_]{62}/.exec(rotated.body) ?? []
    noteSecret(token, 'the rotated token')
    const order = (method: string, path: string, body: object) =>
      new Client().send(stage.at(`/api/v1${path}`), {
        as: 'fetch',
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    const app = { id: 'notes', name: 'Notes', url: stage.rig.origin('notes'), upstream: stage.rig.upstream('app').origin }
    const begun = await order('POST', '/apps', { ...app, who: { kind: 'groups', values: ['staff'] } })
    expect(begun.status, begun.body).toBe(200)
    const { draft } = JSON.parse(begun.body) as { readonly draft: string }
    const headers = { authorization: `Bearer ${token}` }
    const read = await new Client().send(stage.at(`/api/v1/policy/drafts/${draft}`), { as: 'fetch', headers })
    const { hash, version } = JSON.parse(read.body) as { readonly hash: string; readonly version: number }
    expect((await order('POST', `/policy/drafts/${draft}/propose`, { version })).status).toBe(200)
    const path = `/console/policy/drafts/${draft}`
    for (const one of [client, other]) {
      const page = await one.send(stage.at(path))
      expect(page.body).not.toContain(`action="${path}/approve"`)
      expect((await submitRaw(one, stage.at(`${path}/approve`), { hash }, { page })).status).toBe(403)
    }
    const listed = await other.send(stage.at(`/console/tokens/${id}`))
    expect(listed.body).toMatch(/Rotated.*by <bdi>person:adele/s)
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
