/**
 * The audit trail of a whole story: every decision and every beginning and end of a session is one line, and no secret of the story is in
 * trail or log. What a killed process leaves is in `audit-crash.e2e.ts`.
 */

import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { zstdDecompressSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { listChains, listSegments } from '../src/audit/trail-files.ts'
import { type Answer, Client, type RequestWish } from './support/client.ts'
import { type HostileProvider, startHostileProvider } from './support/hostile-provider.ts'
import { type Rig, startRig, waitFor } from './support/rig.ts'

type Line = Readonly<Record<string, unknown>>

/** Every file of an instance's trail, in order. */
async function readSegments(folder: string): Promise<readonly string[]> {
  const base = join(folder, 'audit')
  const texts: string[] = []
  for (const chain of await listChains(base))
    for (const { isCompressed, path } of await listSegments(base, chain)) {
      // A closed one may be compressed between the two.
      const plain = isCompressed ? undefined : await readFile(path, 'utf8').catch(() => undefined)
      texts.push(plain ?? zstdDecompressSync(await readFile(isCompressed ? path : `${path}.zst`)).toString())
    }
  return texts
}

/** A browser that remembers every secret that passed through its hands. */
class WatchedClient extends Client {
  readonly secrets = new Set<string>()

  override async send(url: string, wish: RequestWish = {}): Promise<Answer> {
    this.note(url)
    const answer = await super.send(url, wish)
    this.note(answer.header('location') ?? '')
    for (const line of [answer.headers['set-cookie'] ?? []].flat()) this.keep(line.slice(line.indexOf('=') + 1).split(';', 1)[0])
    return answer
  }

  /** Parameters of addresses: codes, states, nonces, challenges, attempts. */
  private note(address: string): void {
    if (!URL.canParse(address)) return
    for (const [name, value] of new URL(address).searchParams)
      if (['code', 'state', 'nonce', 'code_challenge', 'attempt', 'id_token_hint', 'logout_hint'].includes(name)) this.keep(value)
  }

  private keep(value: string | undefined): void {
    if (value !== undefined && value.length >= 12) this.secrets.add(value)
  }
}

describe('the audit trail of a story', () => {
  let rig: Rig
  let provider: HostileProvider
  const client = new WatchedClient()

  beforeAll(async () => {
    provider = await startHostileProvider({ hostname: 'login.corp.localhost' })
    rig = await startRig({
      issuer: provider.issuer,
      provider: { client_id: provider.clientId, client_secret: provider.clientSecret },
      session: { refresh_after: '1s', claims_max_age: '1s' },
      apps: [
        {
          id: 'app',
          rules: [
            { name: 'staff', allow: { groups: ['staff'] } },
            { name: 'not here', deny: { signed_in: true }, paths: ['/never/**'] },
            { name: 'open', allow: { public: true }, paths: ['/public/**'] },
          ],
        },
        { id: 'wiki', rules: [{ name: 'admins', allow: { groups: ['admins'] } }] },
      ],
    })
  })
  afterAll(async () => {
    await rig?.stop()
    await provider?.stop()
  })

  async function lineOf(answer: Answer, event: string): Promise<Line> {
    const request = answer.header('x-postern-request')
    let found: readonly Line[] = []
    await waitFor(
      async () => {
        found = (await rig.audit()).filter((line) => line['request'] === request && line['event'] === event)
        return found.length > 0
      },
      5000,
      () => `no ${event} for ${request}`,
    )
    expect(found).toHaveLength(1)
    return found[0] ?? {}
  }

  test('every decision, session start, refresh and end is one line with the contract’s fields, and none holds a secret', async () => {
    const canary = { query: `canary-${randomBytes(12).toString('hex')}`, body: `canary-${randomBytes(12).toString('hex')}` }
    const url = `${rig.origin('app')}/page?token=${canary.query}`
    const first = await rig.signIn(client, 'alice', url)
    expect(first.status).toBe(200)
    expect(await lineOf(first, 'access.decided')).toMatchObject({
      subject: { kind: 'person', sub: 'alice', email: 'alice@corp.test' },
      app: 'app',
      host: 'app.corp.localhost',
      method: 'GET',
      path: '/page',
      effect: 'allow',
      rule: 'staff',
      address: '127.0.0.1',
      user_agent: 'postern-test',
    })
    const ended = await lineOf(first, 'access.ended')
    expect(ended).toMatchObject({ status: 200, outcome: 'completed', bytes_in: 0, bytes_out: Buffer.byteLength(first.body) })
    expect(ended['duration_ms']).toBeTypeOf('number')

    const headers = { 'content-type': 'text/plain', origin: rig.origin('app'), 'sec-fetch-site': 'same-origin' }
    const posted = await client.send(`${rig.origin('app')}/form`, {
      method: 'POST',
      body: `${canary.body}`,
      headers: { ...headers, authorization: `Bearer ${canary.body}`, 'x-api-key': canary.body },
    })
    expect(await lineOf(posted, 'access.ended')).toMatchObject({ status: 200, bytes_in: canary.body.length })
    const crossed = await client.send(`${rig.origin('app')}/form`, {
      method: 'POST',
      body: canary.body,
      headers: { ...headers, 'sec-fetch-site': 'same-site' },
    })
    expect(await lineOf(crossed, 'access.decided')).toMatchObject({ effect: 'deny', reason: 'cross_origin' })
    const never = await client.send(`${rig.origin('app')}/never/x?${canary.query}`)
    expect(await lineOf(never, 'access.decided')).toMatchObject({ effect: 'deny', reason: 'denied_by_rule', rule: 'not here' })
    const wiki = await client.follow(`${rig.origin('wiki')}/`)
    expect(wiki.status).toBe(403)
    expect(await lineOf(wiki, 'access.decided')).toMatchObject({ effect: 'deny', reason: 'no_rule_matched', app: 'wiki' })
    const open = await new Client().send(`${rig.origin('app')}/public/x?${canary.query}`)
    expect(await lineOf(open, 'access.decided')).toMatchObject({ effect: 'allow', subject: { kind: 'nobody' }, rule: 'open' })

    await waitFor(async () => {
      await client.send(`${rig.origin('app')}/page`, { as: 'fetch' })
      return (await rig.audit()).some((line) => line['event'] === 'session.refreshed')
    })
    // Two ways to fail: the provider says no, and an answer that nobody asked for.
    provider.behaviour.answer = (honest) =>
      new URLSearchParams({ error: 'access_denied', error_description: canary.body, state: honest.get('state') ?? '' })
    expect((await rig.signIn(new WatchedClient(), 'alice', url)).status).toBeGreaterThanOrEqual(400)
    await client.send(`${rig.origin('access')}/oidc/callback?code=${canary.query}&state=${canary.query}`)
    await client.send(`${rig.origin('app')}/.postern/callback?code=${canary.query}`)
    const out = await client.send(`${rig.origin('app')}/.postern/sign-out`, { method: 'POST', body: '', headers })
    expect(out.status).toBe(303)

    await waitFor(async () => (await rig.audit()).some((line) => line['event'] === 'session.ended'))
    const trail = await rig.audit()
    const started = trail.filter((line) => line['event'] === 'session.started')
    expect(started).toHaveLength(1)
    expect(trail.filter((line) => line['event'] === 'session.ended')).toMatchObject([
      { session: started[0]?.['session'], cause: 'signed_out' },
    ])
    expect(trail.filter((line) => line['event'] === 'sign_in.failed').length).toBeGreaterThanOrEqual(2)
    for (const line of trail) {
      expect(line['at']).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      expect(line['event']).toMatch(/^[a-z_]+\.[a-z_]+$/)
      expect(line['instance']).toBeTypeOf('string')
    }

    // What passed between the provider and us, which no browser saw: codes, verifiers, tokens, the client's secret.
    const secrets = new Set([
      ...client.secrets,
      canary.query,
      canary.body,
      provider.clientSecret,
      encodeURIComponent(provider.clientSecret),
    ])
    for (const { body, headers: sent } of provider.received) {
      for (const [name, value] of new URLSearchParams(body))
        if (!['grant_type', 'redirect_uri', 'client_id', 'scope'].includes(name)) secrets.add(value)
      const authorization = sent.authorization?.split(' ')[1]
      if (authorization !== undefined) secrets.add(authorization)
    }
    expect(secrets.size).toBeGreaterThan(15)
    const said = `${(await readSegments(rig.instance.folder)).join('')}${rig.instance.log()}`
    for (const secret of secrets) expect(said.includes(secret), `${secret.slice(0, 6)}… is in trail or log`).toBe(false)
    expect(said).not.toMatch(/eyJ[\w-]{10,}\./)
    console.log(`${trail.length} lines, ${secrets.size} secrets looked for`)
  }, 60_000)

  test('what strangers cause is counted, not listed, and lands in the trail at the latest when the process ends', async () => {
    await rig.instance.stop()
    await rig.instance.start()
    const from = (await rig.audit()).length
    for (let round = 0; round < 40; round += 1) await new Client().send(`${rig.origin('app')}/secret/${round}`, { as: 'fetch' })
    await rig.instance.stop()
    const lines = (await rig.audit()).slice(from)
    expect(lines.filter((line) => line['event'] === 'access.decided')).toHaveLength(0)
    expect(lines.filter((line) => line['event'] === 'access.counted')).toContainEqual(
      expect.objectContaining({ app: 'app', address: '127.0.0.1', count: 40, reason: 'login_required' }),
    )
    // The signature over it follows.
    expect(lines.slice(-2)).toMatchObject([{ event: 'instance.stopped' }, { event: 'audit.checkpoint' }])
    await rig.instance.start()
  })
})
