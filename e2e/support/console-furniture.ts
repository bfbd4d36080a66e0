/**
 * A console with something in it, made by using it: people who were let in and refused, a device and a blocked one, a lock, a token,
 * drafts in every state, a second revision, an open connection. For stories that go through every page.
 */

import { expect } from 'vitest'
import { type Answer, Client } from './client.ts'
import { answerWithSocketPage, makeToken, type Stage, submitRaw } from './console.ts'
import { openRawWebSocket } from './raw-websocket.ts'
import { waitFor } from './rig.ts'

/** The forms of a draft, sent by hand. */
export interface DraftHand {
  /** Begins one; gives its path. */
  begin(comment: string): Promise<string>
  /** Begins one with a new app in it; gives its path. */
  beginApp(id: string, upstream: string): Promise<string>
  /** Replaces one of its files. */
  put(draft: string, file: string, content: string): Promise<void>
  /** `propose`, `approve`, `publish`, `merge` or `discard`, as its page offers them; gives where that leads. */
  act(draft: string, what: string, fields?: Readonly<Record<string, string>>): Promise<Answer>
}

/** The drafts of a stage as `client` handles them. */
export async function draftHand(stage: Stage, client: Client): Promise<DraftHand> {
  const form = await client.send(stage.at('/console/policy'))
  const send = async (path: string, fields: Readonly<Record<string, string>>) =>
    done(await submitRaw(client, stage.at(path), fields, { page: form }))
  const draftOf = (answer: Answer) => /^\/console\/policy\/drafts\/[^/?]+/.exec(pathOf(answer))?.[0] ?? ''
  const hidden = (body: string, name: string) => new RegExp(`name="${name}" value="([^"]+)"`).exec(body)?.[1] ?? ''
  return {
    begin: async (comment) => draftOf(await send('/console/policy/drafts', { comment })),
    beginApp: async (id, upstream) =>
      draftOf(
        await send('/console/apps/new', {
          ...{ id, name: `App ${id}`, url: stage.rig.origin(id), upstream, sensitivity: 'internal', owner: '' },
          ...{ who_kind: 'groups', who: 'staff' },
        }),
      ),
    async put(draft, file, content) {
      const page = await client.send(stage.at(`${draft}/edit?file=${encodeURIComponent(file)}`))
      await send(`${draft}/edit`, { file, content, version: hidden(page.body, 'version') })
    },
    async act(draft, what, fields = {}) {
      let page = await client.send(stage.at(draft))
      // What can be done with it is offered once it is tried.
      await waitFor(async () => {
        page = await client.send(stage.at(draft))
        return page.body.includes(`action="${draft}/${what}"`)
      })
      const action = page.body.slice(page.body.indexOf(`action="${draft}/${what}"`))
      const own = action.slice(0, action.indexOf('</form>'))
      const given = Object.fromEntries(['version', 'hash'].flatMap((name) => (hidden(own, name) === '' ? [] : [[name, hidden(own, name)]])))
      return await send(`${draft}/${what}`, { ...given, ...fields })
    },
  }
}

/**
 * Does all of it, with `requests: on` and a managed policy that needs two people and has a listed app `app`.
 *
 * Resolves with pages to begin from besides: of what somebody began, and of the draft that has most in it.
 */
export async function furnish(stage: Stage): Promise<readonly string[]> {
  const { rig } = stage
  const alice = await stage.client('alice')
  const adele = await stage.client('adele')
  const form = await alice.send(stage.at('/console/tokens/new'))
  const send = async (path: string, fields: Readonly<Record<string, string>>) =>
    done(await submitRaw(alice, stage.at(path), fields, { page: form }))

  const upstream = rig.upstream('app')
  upstream.answerWith(answerWithSocketPage)
  const bob = new Client()
  expect((await rig.signIn(bob, 'bob', `${rig.origin('app')}/ok`)).status).toBe(200)
  const carol = new Client()
  await rig.signIn(carol, 'carol', `${rig.origin('app')}/ok`)
  const portal = await carol.send(stage.at('/'))
  done(await submitRaw(carol, stage.at('/requests'), { app: 'app', reason: 'I need it' }, { page: portal }))
  await openRawWebSocket({
    port: rig.port,
    host: new URL(rig.origin('app')).host,
    lines: [`Cookie: ${bob.cookieHeader(rig.origin('app'))}`, `Origin: ${rig.origin('app')}`],
  })

  for (const id of ['laptop-7', 'laptop-8']) await send('/console/devices', { id, name: `Laptop ${id}`, owner: 'bob@corp.example' })
  await send('/console/devices/laptop-8/block', { reason: 'lost' })
  const person = /href="(\/console\/people\/[^"?]+)"/.exec((await findPerson(stage, alice, 'carol')).body)?.[1] ?? ''
  await send(`${person}/lock`, { reason: 'contract is over', until: '' })
  await makeToken(stage, alice, 'A program', ['locks:read'])

  const mine = await draftHand(stage, alice)
  const theirs = await draftHand(stage, adele)
  // Begun before the next revision: it has something to merge.
  const behind = await mine.begin('Something else')
  await mine.put(behind, 'policy.yaml', await withMore(stage, alice, behind))
  const wiki = await mine.beginApp('wiki', upstream.origin)
  await mine.act(wiki, 'propose')
  await theirs.act(wiki, 'approve')
  await mine.act(wiki, 'publish')
  const approved = await mine.beginApp('board', upstream.origin)
  await mine.act(approved, 'propose')
  await theirs.act(approved, 'approve')
  const proposed = await theirs.beginApp('payroll', upstream.origin)
  await theirs.act(proposed, 'propose')
  await mine.beginApp('calendar', upstream.origin)

  const begun = [await send('/console/trail/verify', {}), await send('/console/review', { app: '', since: '' })].map(
    (answer) => `${pathOf(answer)}${new URL(answer.header('location') ?? '/', answer.url).search}`,
  )
  for (const path of begun) await waitFor(async () => !(await alice.send(stage.at(path))).body.includes('data-trail-refresh'))
  return [`${behind}/apps/app`, ...begun]
}

async function findPerson(stage: Stage, client: Client, name: string): Promise<Answer> {
  let answer = await client.send(stage.at(`/console/people?q=${name}`))
  await waitFor(async () => {
    answer = await client.send(stage.at(`/console/people?q=${name}`))
    return answer.body.includes(`${name}@corp.example</bdi>`)
  })
  return answer
}

/** The document of a draft with a level and two rules for the company. */
async function withMore(stage: Stage, client: Client, draft: string): Promise<string> {
  const { body } = await client.send(stage.at(`${draft}/edit`))
  const text = (/<textarea id="content"[^>]*>\n?([\s\S]*?)<\/textarea>/.exec(body)?.[1] ?? '')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
  const document = JSON.parse(text) as Record<string, unknown>
  const apps = (document['apps'] as Record<string, unknown>[]).map((app) => ({
    ...app,
    rules: [...(app['rules'] as object[]), { name: 'finance', allow: { groups: ['finance'] } }],
  }))
  const rules = ['no deleting', 'no patching'].map((name, at) => ({ name, deny: { everyone: true }, methods: [['DELETE'], ['PATCH']][at] }))
  return JSON.stringify({ ...document, apps, levels: { recent: { signed_in: { within: '1h' } } }, rules }, undefined, 1)
}

const pathOf = (answer: Answer) => new URL(answer.header('location') ?? '/', answer.url).pathname

function done(answer: Answer): Answer {
  expect(answer.status, `${answer.url} ${answer.body.replaceAll(/<[^>]+>|\s+/g, ' ').slice(0, 3000)}`).toBe(303)
  return answer
}
