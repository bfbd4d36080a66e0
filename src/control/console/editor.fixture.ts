/**
 * The pages of apps and of the editor for tests: on a real access host, with drafts in a real store, the real judge and a policy that is shipped.
 */

import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AppActivity } from '../../administration/activity.ts'
import type { Asker } from '../../administration/asker.ts'
import { openHistory } from '../../administration/policy.fixture.ts'
import { type Bundle, hashBundle, toBundle } from '../../administration/policy-bundle.ts'
import type { PolicyDrafts, PolicyInForce } from '../../administration/policy-history.ts'
import { describeInstance } from '../../config/known-instance.ts'
import { createPolicyEditor } from '../../config/policy-editor.ts'
import { createNameLookup } from '../../enforcement/name-lookup.ts'
import type { PolicyDocument } from '../../policy/document.ts'
import { createPolicyJudge } from '../../policy-judge.ts'
import { createRateLimit } from '../../rate-limits.ts'
import { openEmbeddedPlace } from '../../session/session.fixture.ts'
import { createAppsOperations } from '../operations/apps.ts'
import { createAppHistory } from '../operations/apps-history.ts'
import { createCarryOut } from '../operations/carry-out.ts'
import { createPolicyEditOperations } from '../operations/policy-edit.ts'
import { createDraftDesk } from '../operations/policy-edit-desk.ts'
import { mountAppsPages } from './apps-pages.ts'
import { startConsole, type TestConsole } from './console.fixture.ts'
import { mountEditorAppPages } from './editor-app-pages.ts'
import { mountEditorPages } from './editor-pages.ts'
import { mountLevelPages } from './rule-level-pages.ts'
import { mountRulePages } from './rule-pages.ts'

export interface TestEditor {
  readonly console: TestConsole
  readonly drafts: PolicyDrafts
  readonly document: PolicyDocument
  readonly apps: ReturnType<typeof createAppsOperations>
  readonly editing: ReturnType<typeof createPolicyEditOperations>
  readonly asker: Asker
  /** Begins a draft of what is in force, or of these files. */
  begin(files?: Readonly<Record<string, string>>): Promise<string>
  text(draft: string, path?: string): Promise<string>
  close(): Promise<void>
}

export interface TestEditorOptions {
  readonly files?: Readonly<Record<string, string>>
  readonly activity?: ReadonlyMap<string, AppActivity>
  readonly seen?: Readonly<Record<string, readonly string[]>>
}

/** A bundle of the files of `config/examples`. */
export async function exampleFiles(): Promise<Readonly<Record<string, string>>> {
  const names = ['policy.yaml', 'networks/github-hooks.txt']
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join('config/examples', name), 'utf8')] as const)),
  )
}

/** Starts one. */
export async function startEditor({ activity = new Map(), files, seen = {} }: TestEditorOptions = {}): Promise<TestEditor> {
  const bundle = toBundleOf(files ?? (await exampleFiles()))
  const folder = await mkdtemp(join(tmpdir(), 'postern-editor-'))
  const place = await openEmbeddedPlace()
  const history = openHistory(place)
  const judge = createPolicyJudge({
    folder,
    question: () => ({ instance: describeInstance({}), areTestsRequired: false, now: Date.UTC(2026, 10, 25) }),
    monotonicNow: () => performance.now(),
  })
  const judged = await judge.judgeBundle(bundle)
  const document = judged.document
  if (document === undefined) throw new TypeError(judged.problems.map(({ message }) => message).join('; '))
  const inForce = async (): Promise<PolicyInForce> => ({
    mode: 'files',
    policyVersion: document.version,
    revision: undefined,
    bundle,
    failure: undefined,
  })
  const begin = async (comment: string, by: { readonly by: string; readonly label: string }, from: Bundle) => {
    const base = { revision: undefined, policyVersion: document.version, hash: hashBundle(bundle), bundle }
    return await history.drafts.begin({ comment, by, base, bundle: from })
  }
  const editor = createPolicyEditor()
  const desk = createDraftDesk({
    drafts: history.drafts,
    editor,
    begin: async ({ comment }, asker) => {
      const draft = await begin(comment, { by: asker.actor, label: asker.label }, bundle)
      return typeof draft === 'string'
        ? { outcome: 'refused', problem: 'too_many', message: 'too many drafts' }
        : { outcome: 'drafted', draft }
    },
  })
  const digest = {
    apps: () => activity,
    state: () => ({ since: Date.UTC(2026, 10, 24), until: Date.UTC(2026, 10, 25), isLoading: false, events: 10 }),
    seen: (kind: string) => (seen[kind] ?? []).map((value) => ({ value, people: 1 })),
  }
  const carryOut = createCarryOut()
  const lookup = createNameLookup([{ host: '127.0.0.9', port: undefined }])
  const limit = createRateLimit({ points: 20, seconds: 60 })
  const apps = createAppsOperations({
    document: () => document,
    digest,
    upstreamHealth: (app) =>
      app === 'jenkins' ? { state: 'failing', detail: 'no answer <since> noon' } : { state: 'unknown', detail: undefined },
    lastChanges: createAppHistory(undefined),
    reach: { ...lookup, isReachAllowed: (host) => host !== 'forbidden.internal' },
    limitChecks: (actor) => limit.consume(actor),
    desk,
  })
  const operations = createPolicyEditOperations({ desk })
  const editorPorts = {
    operations,
    carryOut,
    desk,
    editor,
    judge: judge.judgeBundle,
    digest,
    deviceWords: () => ({ tags: ['engineering'], attributes: ['mdm.compliant'] }),
    strengths: ['mfa', 'phishing_resistant'],
  }
  const console = await startConsole({
    mounts: [
      (routes) => mountAppsPages(routes, { operations: apps, carryOut, inForce, desk, editor, digest }),
      (routes) => mountEditorPages(routes, editorPorts),
      (routes) => mountEditorAppPages(routes, editorPorts),
      (routes) => mountRulePages(routes, editorPorts),
      (routes) => mountLevelPages(routes, editorPorts),
    ],
  })
  const load = async (id: string) => {
    const draft = await history.drafts.load(id)
    if (draft === undefined) throw new TypeError('there is no such draft')
    return draft
  }
  return {
    console,
    drafts: history.drafts,
    document,
    apps,
    editing: operations,
    asker: console.asker('admin'),
    async begin(given) {
      const draft = await begin(
        'a test',
        { by: 'person:sub-admin', label: 'admin@corp.example' },
        given === undefined ? bundle : toBundleOf(given),
      )
      if (typeof draft === 'string') throw new TypeError(draft)
      return draft.id
    },
    text: async (id, path = 'policy.yaml') => (await load(id)).bundle.find((file) => file.path === path)?.content.toString() ?? '',
    async close() {
      await console.close()
      judge.close()
      await place.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A server that answers everything with this status, or says nothing at all. */
export async function startUpstream(
  status: number | undefined,
): Promise<{ readonly server: Server; readonly url: string; readonly heard: string[] }> {
  const heard: string[] = []
  const server = createServer((request, response) => {
    heard.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`)
    if (status !== undefined) response.writeHead(status, { location: 'http://127.0.0.9/secret', 'x-secret': 'concealed' }).end('concealed')
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, heard }
}

function toBundleOf(files: Readonly<Record<string, string>>): Bundle {
  return toBundle(Object.entries(files).map(([path, content]) => ({ path, content: Buffer.from(content) })))
}
