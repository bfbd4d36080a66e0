/**
 * What the API says of itself: valid as OpenAPI 3.1, enough for a public generator to make a client of, and true, for that client
 * takes a new app from nothing to its first allowed request with a service token. Two instances on one Redis.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Validator } from '@seriousme/openapi-schema-validator'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Client } from './support/client.ts'
import { makeToken, type Stage, startStage } from './support/console.ts'
import { managed } from './support/console-policy.ts'
import { waitFor } from './support/rig.ts'

const modules = join(import.meta.dirname, '..', 'node_modules')

/** What the generator makes, as far as the story uses it. */
interface GeneratedClient {
  readonly defaults: { baseUrl: string; headers: Record<string, string>; fetch: typeof fetch }
  appsCheckUpstream(body: { readonly upstream: string }): Promise<{ readonly result: string }>
  appsCreate(body: object): Promise<{ readonly draft: string; readonly version: number; readonly app: string }>
  policyTry(draft: string): Promise<{ readonly hash: string; readonly problems: readonly object[] }>
  policyReadDraft(draft: string): Promise<{ readonly hash: string; readonly state: string }>
  policyPublishDraft(draft: string, body: object): Promise<{ readonly outcome: string; readonly revision: { readonly number: number } }>
  appsGet(app: string): Promise<{ readonly own_rules: readonly { readonly sentence: string }[] }>
  tokensList(): Promise<object>
}

describe('the API', () => {
  let stage: Stage
  let folder: string
  let description: Record<string, unknown>

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'postern-generated-'))
    stage = await startStage({ configuration: managed, apps: [{ id: 'app', rules: [{ name: 'staff', allow: { groups: ['staff'] } }] }] })
    const answer = await new Client().send(stage.at('/api/v1/openapi.json'))
    description = JSON.parse(answer.body) as Record<string, unknown>
  })
  afterAll(async () => {
    await stage?.close()
    await rm(folder, { recursive: true, force: true })
  })

  test('describes itself as valid OpenAPI 3.1', async () => {
    const validator = new Validator()
    expect(await validator.validate(structuredClone(description))).toEqual({ valid: true })
    expect(validator.version).toBe('3.1')
  })

  test('does with a generated client what an admin does by hand: a new app, tried, published, opened', async () => {
    const spec = join(folder, 'openapi.json')
    await writeFile(spec, JSON.stringify(description))
    await symlink(modules, join(folder, 'node_modules'))
    const generated = join(folder, 'client.ts')
    const cli = join(modules, 'oazapfts', 'dist', 'cli.js')
    await promisify(execFile)(process.execPath, [cli, spec, generated, '--optimistic', '--futureStripLegacyMethods'])
    const client = (await import(generated)) as GeneratedClient

    const alice = await stage.client('alice')
    const token = await makeToken(stage, alice, 'Pipeline', ['policy:read', 'policy:write', 'policy:publish'])
    client.defaults.baseUrl = stage.rig.origin('access')
    client.defaults.headers = { authorization: `Bearer ${token}` }
    client.defaults.fetch = fetchOnRig

    const upstream = stage.rig.upstream('app').origin
    expect(await client.appsCheckUpstream({ upstream })).toMatchObject({ result: 'answers' })
    const wish = { id: 'wiki', name: 'Wiki', url: stage.rig.origin('wiki'), upstream, who: { kind: 'groups', values: ['finance'] } }
    const { app, draft } = await client.appsCreate(wish)
    expect(app).toBe('wiki')
    expect(await client.policyReadDraft(draft)).toMatchObject({ state: 'open' })
    const tried = await client.policyTry(draft)
    expect(tried.problems).toEqual([])
    const published = await client.policyPublishDraft(draft, { hash: tried.hash, comment: 'A wiki, by a pipeline', confirmations: [] })
    expect(published).toMatchObject({ outcome: 'published', revision: { number: 2 } })

    const bob = new Client()
    bob.detours.set(stage.rig.port, stage.rig.instances[1]?.port ?? 0)
    // The other instance follows within a second.
    await waitFor(async () => (await bob.send(`${stage.rig.origin('wiki')}/page`)).status !== 404, 1000)
    const opened = await stage.rig.signIn(bob, 'bob', `${stage.rig.origin('wiki')}/page`)
    expect([opened.status, opened.url]).toEqual([200, `${stage.rig.origin('wiki')}/page`])
    expect((await client.appsGet('wiki')).own_rules[0]?.sentence).toMatch(/finance/i)
    await expect(client.tokensList()).rejects.toMatchObject({ status: 403 })
    const lines = (await Promise.all(stage.rig.instances.map((instance) => stage.rig.audit(instance)))).flat()
    expect(lines.filter(({ event, revision }) => event === 'policy.published' && revision === 2)).toMatchObject([
      { actor: expect.stringMatching(/^token:/) },
    ])
  })

  /** Names of the rig are known to nobody but its clients. */
  const fetchOnRig: typeof fetch = async (input, init) => {
    const request = new Request(input, init)
    const body = init?.body
    const answer = await new Client().send(request.url, {
      as: 'fetch',
      method: request.method,
      headers: Object.fromEntries(request.headers),
      ...(typeof body === 'string' ? { body } : {}),
    })
    return new Response(answer.body, { status: answer.status, headers: { 'content-type': answer.header('content-type') ?? '' } })
  }
})
