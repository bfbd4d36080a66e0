/** `postern policy`, as processes: on a store that runs, through an instance's control socket, over the API, and where the policy is files. */

import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startRedis } from '../../e2e/support/redis.ts'
import { parseAdministrativeEvent } from '../administration/administrative-event.ts'
import { createErrands } from '../administration/errands-over-store.ts'
import { type GatesPart, gatesErrand } from '../administration/gates.ts'
import { packUses } from '../administration/gates-uses.ts'
import { bundleOf, openHistory, publicationOf } from '../administration/policy.fixture.ts'
import { parseFiles, stateFiles, stateRevision } from '../administration/policy-statements.ts'
import { listenForAdministration, openStore } from '../compose-store.ts'
import { loadConfiguration } from '../config/load-configuration.ts'
import { createKeysFile, loadKeys } from '../keys-file.ts'
import { createLive } from '../live/create-live.ts'
import type { Facts } from '../policy/facts.ts'
import { facts, person } from '../policy/policy.fixture.ts'
import { silentLog } from '../session/session.fixture.ts'

const now = () => Date.now()
const app = (id: string, group: string) =>
  `  - { id: ${id}, url: "https://${id}.corp.example", upstream: "http://${id}.internal:8080", rules: [{ name: in, allow: { groups: [${group}] } }] }\n`
const policy = (...apps: readonly string[]) => `# who may do what\napps:\n${apps.join('')}`

let folder: string
const cleanUps: (() => unknown)[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-policy-command-'))
  cleanUps.push(() => rmSync(folder, { recursive: true, force: true }))
})
afterEach(async () => {
  for (const cleanUp of cleanUps.splice(0).reverse()) await cleanUp()
})

const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('POSTERN_')))

interface Ran {
  readonly status: number
  readonly out: string
  readonly err: string
}

function run(args: readonly string[], environment: Readonly<Record<string, string>> = {}): Promise<Ran> {
  const cli = join(import.meta.dirname, '..', 'cli.ts')
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [cli, 'policy', ...args, '--config', 'postern.yaml'],
      { cwd: folder, env: { ...clean, ...environment } },
      (error, out, err) => resolve({ status: error === null ? 0 : Number(error.code), out, err }),
    )
  })
}

/** Where the store is, and the keys that its records are sealed with. */
async function configure(store: string, more = 'policy: managed\n') {
  const config = join(folder, 'postern.yaml')
  writeFileSync(join(folder, 'secret'), 'K7d02hqTz91mWc4x', { mode: 0o600 })
  const provider = 'provider: { issuer: "https://id.corp.example", client_id: postern, client_secret_file: secret }'
  writeFileSync(config, `url: https://access.corp.example\nlisten: 127.0.0.1:2\n${provider}\nsession: { store: "${store}" }\n${more}`)
  const { problems, value } = await loadConfiguration(config, {})
  if (value === undefined) throw new TypeError(JSON.stringify(problems))
  createKeysFile(value.keysFile, now())
  return { configuration: value, keys: loadKeys(value.keysFile, now()) }
}

const unchecked = ['--confirm', 'yes, unchecked']
const asJson = (ran: Ran) => JSON.parse(ran.out) as Record<string, unknown>

for (const kind of ['Redis', 'an instance with the embedded store'] as const) {
  describe(`postern policy, on ${kind}`, () => {
    async function openPlace(more?: string) {
      const redis = kind === 'Redis' ? await startRedis() : undefined
      if (redis !== undefined) cleanUps.push(() => redis.close())
      const { configuration, keys } = await configure(redis?.url ?? 'embedded', more)
      const store = await openStore(configuration, { now, log: silentLog })
      cleanUps.push(() => store.close())
      if (redis !== undefined) await expect.poll(() => store.checkReady().then(() => true)).toBe(true)
      const recorded: unknown[] = []
      const record = (event: unknown) => parseAdministrativeEvent(event) !== undefined && recorded.push(event) > 0
      const commands = await listenForAdministration(configuration, { store, record, log: silentLog })
      cleanUps.push(() => commands.close())
      const history = openHistory({ store }, { keys })
      return { ...history, recorded, store, keysOf: () => keys }
    }

    it('pulls, compares, pushes, lists and restores', async () => {
      const { recorded, revisions } = await openPlace()
      expect(await run(['pull'])).toMatchObject({ status: 1, err: expect.stringContaining('nothing is published yet') })
      const networks = { 'networks/office.txt': '192.0.2.0/24\n', 'logos/wiki.png': Buffer.from([0, 255, 1]) }
      await revisions.publish(publicationOf('one', 0, { bundle: bundleOf(policy(app('wiki', 'staff')), networks) }))

      expect(await run(['pull'])).toMatchObject({ status: 0, out: expect.stringContaining('Wrote revision 1 into policy: 3 files') })
      expect(readFileSync(join(folder, 'policy', 'policy.yaml'), 'utf8')).toBe(policy(app('wiki', 'staff')))
      expect(readFileSync(join(folder, 'policy', 'logos', 'wiki.png'))).toEqual(Buffer.from([0, 255, 1]))
      expect(await run(['diff'])).toMatchObject({ status: 0, out: 'policy is revision 1.\n' })

      writeFileSync(join(folder, 'policy', 'policy.yaml'), policy(app('wiki', 'staff'), app('crm', 'sales')))
      const drift = await run(['diff', 'policy'])
      expect(drift).toMatchObject({ status: 1, err: 'postern: policy is not revision 1\n' })
      expect(drift.out).toBe(
        `--- a/policy.yaml\n+++ b/policy.yaml\n@@ -1,3 +1,4 @@\n # who may do what\n apps:\n ${app('wiki', 'staff')}+${app('crm', 'sales')}`,
      )
      expect(asJson(await run(['diff', 'policy', '--json']))).toMatchObject({
        differs: true,
        mode: 'managed',
        revision: 1,
        made_from: 1,
        files: [{ path: 'policy.yaml', kind: 'changed', binary: false, left_out: 0, hunks: [{ from: 1, to: 1 }] }],
      })

      const push = ['push', 'policy', '--comment', 'the sales people get a crm']
      // Whom it would shut out nobody can say: the instance that has the store open is none that answers.
      expect(await run(push)).toMatchObject({
        status: 1,
        out: '',
        err: "postern: no instance runs that could be asked whom this would shut out: type `yes, unchecked`\n  if that is meant: --confirm 'yes, unchecked'\n",
      })
      expect(asJson(await run([...push, '--json']))).toMatchObject({ problem: 'confirmation_needed', gates: [{ word: 'yes, unchecked' }] })
      expect(await revisions.head()).toMatchObject({ number: 1 })
      const pushed = await run([...push, ...unchecked])
      expect(pushed).toMatchObject({
        status: 0,
        out: expect.stringMatching(/^Published as revision 2, sha256-\w+\.\n {2}app crm added\n$/),
      })
      const stored = await revisions.load(2)
      expect(stored).toMatchObject({ comment: 'the sales people get a crm', published: { by: expect.stringMatching(/^os:.+@.+/) } })
      expect(stored?.bundle.map(({ path }) => path)).toEqual(['logos/wiki.png', 'networks/office.txt', 'policy.yaml'])
      if (kind !== 'Redis') expect(recorded).toMatchObject([{ event: 'policy.published', revision: 2 }])
      expect(await run(['push', 'policy', '--comment', 'again'])).toMatchObject({
        status: 0,
        out: expect.stringContaining('Revision 2 says this already'),
      })

      const listed = (await run(['history', '--json'])).out.trim().split('\n')
      expect(listed.map((line) => (JSON.parse(line) as { number: number }).number)).toEqual([2, 1])
      expect((await run(['history', '--limit', '1'])).out).toMatch(/^ {3}2 {2}\S+Z {2}os:.*the sales people get a crm\n$/)

      expect(asJson(await run(['restore', '1', '--comment', 'no crm after all', '--json', ...unchecked]))).toMatchObject({
        outcome: 'published',
        revision: { number: 3, restores: 1, difference: ['app crm removed'] },
        draft: null,
      })
      expect(await run(['pull'])).toMatchObject({ status: 0, out: expect.stringContaining('revision 3') })
      expect(readFileSync(join(folder, 'policy', 'policy.yaml'), 'utf8')).toBe(policy(app('wiki', 'staff')))
    }, 60_000)

    it('asks the instances that run whom it would shut out, as the console does, and publishes once that is confirmed', async () => {
      const { keysOf, revisions, store } = await openPlace()
      await revisions.publish(publicationOf('one', 0, { bundle: bundleOf(policy(app('wiki', 'staff'))) }))
      const live = createLive({ store, loadLocks: async () => [], monotonicNow: now, keepSeconds: 60, log: silentLog })
      const errands = createErrands({
        ...{ store, keys: keysOf, log: silentLog, now, monotonicNow: now, live, instance: 'host-a', version: '1.2.3' },
        policyVersion: () => 'sha256-one',
      })
      cleanUps.push(() => live.close())
      cleanUps.push(() => errands.close())
      await live.confirm()
      const sample = <T>(value: T) => ({ known: true as const, value })
      const signIn = {
        known: true,
        value: { at: sample(now() - 60_000), acr: sample('basic'), amr: sample(['pwd']) },
      } as unknown as Facts['signIn']
      const seen = { ...facts(person()), signIn }
      errands.serve<object, GatesPart>(gatesErrand, async () => ({
        ...packUses({
          isComplete: true,
          uses: [
            {
              ...{
                app: 'wiki',
                host: 'wiki.corp.example',
                policy: 'sha256-one',
                reason: 'rule_matched',
                rule: 'in',
                request: 'r1',
                at: now(),
              },
              subject: { kind: 'person', issuer: 'https://op.example', sub: 'u1', email: undefined },
              evidence: { facts: seen, isPathWhole: true, isClientTold: true, claimPaths: [] },
            },
          ],
        }),
        visits: [],
        chains: [],
      }))
      await expect.poll(() => errands.instances()).toHaveLength(1)
      await run(['pull'])
      writeFileSync(join(folder, 'policy', 'policy.yaml'), policy(app('wiki', 'sales')))
      const push = ['push', 'policy', '--comment', 'the wiki is for sales']
      expect(await run(push)).toMatchObject({
        status: 1,
        err: expect.stringMatching(/the only one who used wiki in the last 24 hours would be refused: type `wiki`\n.*--confirm 'wiki'\n$/),
      })
      // Having said that nobody was asked is no answer to what was found.
      expect(await run([...push, ...unchecked])).toMatchObject({ status: 1 })
      expect(await revisions.head()).toMatchObject({ number: 1 })
      expect(await run([...push, '--confirm', 'wiki'])).toMatchObject({ status: 0, out: expect.stringContaining('revision 2') })
    }, 60_000)

    it('overwrites neither what somebody else published nor what was changed here', async () => {
      const { revisions } = await openPlace()
      await revisions.publish(publicationOf('one', 0, { bundle: bundleOf(policy(app('wiki', 'staff'))) }))
      await run(['pull', 'mine'])
      writeFileSync(join(folder, 'mine', 'policy.yaml'), policy(app('wiki', 'all')))
      await revisions.publish(publicationOf('two', 1, { bundle: bundleOf(policy(app('wiki', 'sales'))) }))

      const late = await run(['push', 'mine', '--comment', 'mine'])
      expect(late).toMatchObject({ status: 1, err: expect.stringContaining('made from revision 1, and meanwhile revision 2') })
      expect(asJson(await run(['push', 'mine', '--comment', 'mine', '--json']))).toMatchObject({
        outcome: 'refused',
        problem: 'conflict',
        head: 2,
        conflicts: [{ path: 'policy.yaml', count: 1 }],
      })
      expect(await revisions.head()).toMatchObject({ number: 2 })

      expect(await run(['pull', 'mine'])).toMatchObject({ status: 1, err: expect.stringContaining('changed since they were pulled') })
      expect(readFileSync(join(folder, 'mine', 'policy.yaml'), 'utf8')).toContain('[all]')
      expect(await run(['pull', 'mine', '--force'])).toMatchObject({ status: 0 })
      expect(readFileSync(join(folder, 'mine', 'policy.yaml'), 'utf8')).toContain('[sales]')

      writeFileSync(join(folder, 'alone.yaml'), policy(app('wiki', 'all')))
      expect(await run(['push', 'alone.yaml', '--comment', 'c'])).toMatchObject({
        status: 1,
        err: expect.stringContaining('--onto NUMBER'),
      })
    }, 60_000)

    it('publishes nothing that an instance would refuse, and says where it is wrong', async () => {
      const { drafts, revisions } = await openPlace('policy: managed\npolicy_two_person: true\nupstreams: { allow: ["*.internal"] }\n')
      await revisions.publish(publicationOf('one', 0, { bundle: bundleOf(policy(app('wiki', 'staff'))) }))
      writeFileSync(join(folder, 'broken.yaml'), policy(app('wiki', 'staff').replace('rules', 'ruls')))
      const drafted = await run(['push', 'broken.yaml', '--onto', '1', '--comment', 'for somebody to look at', '--json'])
      expect(asJson(drafted)).toMatchObject({ outcome: 'drafted', revision: null, draft: { state: 'proposed' } })
      expect((await drafts.list())[0]).toMatchObject({ comment: 'for somebody to look at', state: 'proposed' })
      expect(await revisions.head()).toMatchObject({ number: 1 })
      writeFileSync(
        join(folder, 'postern.yaml'),
        readFileSync(join(folder, 'postern.yaml'), 'utf8').replace('policy_two_person: true\n', ''),
      )
      const refused = await run(['push', 'broken.yaml', '--onto', '1', '--comment', 'c'])
      expect(refused).toMatchObject({
        status: 1,
        err: expect.stringMatching(/the policy has (a|\d+) problems?\n {2}broken\.yaml:3: .*ruls/),
      })
      expect(await revisions.head()).toMatchObject({ number: 1 })
    }, 60_000)
  })
}

describe('postern policy, where the policy is files', () => {
  it('hands out and compares the files, and says that they are the truth', async () => {
    await configure('embedded', 'policy: policies\n')
    mkdirSync(join(folder, 'policies'))
    writeFileSync(join(folder, 'policies', 'apps.yaml'), policy(app('wiki', 'staff')))
    expect(await run(['pull', 'copy'])).toMatchObject({
      status: 0,
      out: expect.stringContaining('Wrote the files in force into copy: 1 file'),
    })
    expect(await run(['diff', 'copy'])).toMatchObject({ status: 0, out: 'copy is the files in force.\n' })
    writeFileSync(join(folder, 'copy', 'apps.yaml'), policy(app('wiki', 'all')))
    expect(await run(['diff', 'copy'])).toMatchObject({ status: 1 })
    for (const args of [['history'], ['push', 'copy', '--comment', 'c'], ['restore', '1', '--comment', 'c']]) {
      expect(await run(args)).toMatchObject({ status: 1, err: expect.stringContaining('they are the truth') })
    }
    // Nothing was opened for it.
    expect(readdirSync(join(folder, 'data'))).not.toContain('store.sqlite')
  }, 60_000)

  it('writes through no link, and takes no note that names files elsewhere', async () => {
    await configure('embedded', 'policy: policies\n')
    mkdirSync(join(folder, 'policies', 'networks'), { recursive: true })
    const withNetworks = policy(app('wiki', 'staff')).replace('allow: {', 'when: { network: { cidrs_file: networks/a.txt } }, allow: {')
    writeFileSync(join(folder, 'policies', 'apps.yaml'), withNetworks)
    writeFileSync(join(folder, 'policies', 'networks', 'a.txt'), '192.0.2.0/24\n')
    mkdirSync(join(folder, 'elsewhere'))
    mkdirSync(join(folder, 'copy'))
    symlinkSync(join(folder, 'elsewhere'), join(folder, 'copy', 'networks'))
    expect(await run(['pull', 'copy', '--force'])).toMatchObject({ status: 2, err: expect.stringContaining('is not a folder') })
    expect(readdirSync(join(folder, 'elsewhere'))).toEqual([])
    rmSync(join(folder, 'copy'), { recursive: true })
    await run(['pull', 'copy'])
    writeFileSync(join(folder, 'copy', '.postern-policy.json'), JSON.stringify({ revision: 0, hash: 'x', files: ['../secret'] }))
    expect(await run(['pull', 'copy', '--force'])).toMatchObject({ status: 2, err: expect.stringContaining('not a note') })
    expect(readFileSync(join(folder, 'secret'), 'utf8')).toContain('K7d0')
  }, 60_000)
})

describe('postern policy, over the API', () => {
  it('asks with the token of the environment, and gives the same answers', async () => {
    const asked: { readonly what: string; readonly token: unknown; readonly body: Record<string, unknown> | undefined }[] = []
    const facts = {
      number: 7,
      hash: 'h',
      policyVersion: 'sha256-7',
      published: { by: 'person:ada', label: 'ada@corp.example', at: 0 },
      comment: 'c',
      predecessor: 6,
      difference: ['app crm added'],
      tests: undefined,
      approvals: [],
      restores: undefined,
    }
    const files = bundleOf(policy(app('wiki', 'staff')))
    const answers: Readonly<Record<string, (body: Record<string, unknown> | undefined) => readonly [number, object]>> = {
      'GET /api/v1/policy': () => [
        200,
        { mode: 'managed', policy_version: 'sha256-7', revision: stateRevision(facts), failure: null, files: stateFiles(files) },
      ],
      'GET /api/v1/policy/revisions?limit=2': () => [200, { entries: [stateRevision(facts)], next: 'x' }],
      'GET /api/v1/policy/revisions?limit=1&after=x': () => [200, { entries: [stateRevision({ ...facts, number: 6 })], next: 'y' }],
      'POST /api/v1/policy/revisions': () => [200, { outcome: 'published', revision: stateRevision({ ...facts, number: 8 }), draft: null }],
      'POST /api/v1/policy/revisions/3/restore': (body) =>
        Array.isArray(body?.['confirmations']) && body['confirmations'].length > 0
          ? [200, { outcome: 'published', revision: stateRevision({ ...facts, number: 8 }), draft: null }]
          : [409, { error: 'confirmation_needed', message: 'it refuses everyone: type `wiki`', gates: [{ word: 'wiki' }] }],
    }
    const server = createServer(async (request, response) => {
      const body = await readBody(request)
      const what = `${request.method} ${request.url}`
      asked.push({ what, token: request.headers.authorization, body })
      const [status, answer] = answers[what]?.(body) ?? [403, { error: 'not_permitted', message: 'the token may not' }]
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    cleanUps.push(() => new Promise((resolve) => server.close(resolve)))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const remote = (...args: readonly string[]) => run([...args, '--url', url], { POSTERN_TOKEN: 'ptk_x' })

    expect(await run(['pull', '--url', url])).toMatchObject({ status: 2, err: expect.stringContaining('POSTERN_TOKEN') })
    expect(await remote('pull')).toMatchObject({ status: 0 })
    expect(await remote('diff')).toMatchObject({ status: 0 })
    writeFileSync(join(folder, 'policy', 'policy.yaml'), policy(app('wiki', 'staff'), app('crm', 'sales')))
    expect(await remote('push', 'policy', '--comment', 'crm')).toMatchObject({ status: 0, out: expect.stringContaining('revision 8') })
    const { body } = asked.at(-1) ?? {}
    expect(body).toMatchObject({ predecessor: 7, comment: 'crm', confirmations: [] })
    expect(parseFiles(body?.['files'])).toEqual(bundleOf(policy(app('wiki', 'staff'), app('crm', 'sales'))))
    expect(await remote('push', 'policy', '--comment', 'later', '--draft')).toMatchObject({ status: 2 })
    expect(asked.at(-1)?.what).toBe('POST /api/v1/policy/drafts')
    expect((await remote('history', '--limit', '2', '--json')).out.trim().split('\n').length).toBe(2)
    expect(await remote('restore', '3', '--comment', 'back')).toMatchObject({
      status: 1,
      err: "postern: it refuses everyone: type `wiki`\n  if that is meant: --confirm 'wiki'\n",
    })
    expect(await remote('restore', '3', '--comment', 'back', '--confirm', 'wiki')).toMatchObject({ status: 0 })
    expect(await remote('restore', '4', '--comment', 'back')).toMatchObject({
      status: 2,
      err: expect.stringContaining('refused the order (403)'),
    })
    expect(new Set(asked.map(({ token }) => token))).toEqual(new Set(['Bearer ptk_x']))
  }, 60_000)
})

async function readBody(request: IncomingMessage): Promise<Record<string, unknown> | undefined> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return chunks.length === 0 ? undefined : (JSON.parse(Buffer.concat(chunks).toString()) as Record<string, unknown>)
}
