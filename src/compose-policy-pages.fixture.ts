/**
 * The console's pages of the policy for tests: wired as the composition root wires them, over a real store, with the real judge, a trail on the disk,
 * and two admins.
 */

import { mkdirSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Asker } from './administration/asker.ts'
import { createErrands, type RunningErrands } from './administration/errands-over-store.ts'
import { createAdminVisits } from './administration/gates-console.ts'
import type { Bundle } from './administration/policy-bundle.ts'
import { createTrailWindow } from './administration/trail-window.ts'
import { createEnvironmentReader } from './attributes/environment-facts.ts'
import { watchPlaces } from './attributes/place-files.ts'
import type { AuditEvent } from './audit/event.ts'
import { createFactsLedger } from './audit/recorded-facts.ts'
import { buildChain, createTestAuditKey } from './audit/verify.fixture.ts'
import { decided } from './audit/written-trail.fixture.ts'
import { composeAccess } from './compose-access.ts'
import { bundleOf, policyWith } from './compose-policy.fixture.ts'
import { type ComposedPolicy, composePolicy } from './compose-policy.ts'
import { composePolicyDesk, type PolicyDesk } from './compose-policy-desk.ts'
import { composePolicyPages } from './compose-policy-pages.ts'
import { composeGates, composeTrial } from './compose-trial.ts'
import { loadConfiguration, printProblems } from './config/load-configuration.ts'
import { startConsole, type TestConsole } from './control/console/console.fixture.ts'
import { createCarryOut } from './control/operations/carry-out.ts'
import { createKeysFile, loadKeys } from './keys-file.ts'
import { createLive } from './live/create-live.ts'
import type { Facts } from './policy/facts.ts'
import { facts, person } from './policy/policy.fixture.ts'
import { openEmbeddedPlace, type StorePlace, silentLog } from './session/session.fixture.ts'

export interface TestPolicyPages {
  /** `none` is a second admin. */
  readonly console: TestConsole
  readonly desk: PolicyDesk
  readonly policy: ComposedPolicy
  /** What came on record through operations. */
  readonly events: AuditEvent[]
  readonly admin: Asker
  readonly second: Asker
  /** Begins a draft as the first admin, of what is published or of these files. */
  begin(comment?: string, files?: Readonly<Record<string, string | Buffer>>, by?: Asker): Promise<string>
  /** What the draft says now is another thing. */
  change(draft: string, files: Readonly<Record<string, string | Buffer>>, by?: Asker): Promise<void>
  /** Publishes as the second admin, whatever would have to be confirmed, and waits until it is in force. */
  publish(files: Readonly<Record<string, string | Buffer>>, comment?: string): Promise<number>
  /** A decision of this instance's trail, `agoMs` ago, about the wiki; written at once. */
  decide(request: string, agoMs: number, who?: { readonly sub: string; readonly groups: readonly string[] }): void
  close(): Promise<void>
}

export interface TestPolicyPagesOptions {
  readonly mode?: 'files' | 'managed'
  readonly isTwoPerson?: boolean
  readonly files?: Readonly<Record<string, string>>
  readonly place?: StorePlace
}

/** Everything an admin sees of a policy. */
export const wikiFiles = { 'policy.yaml': policyWith('staff') }

/** Starts them. */
export async function startPolicyPages(options: TestPolicyPagesOptions = {}): Promise<TestPolicyPages> {
  const { files = wikiFiles, isTwoPerson = false, mode = 'managed' } = options
  const place = options.place ?? (await openEmbeddedPlace())
  const { store } = place
  const folder = await mkdtemp(join(tmpdir(), 'postern-policy-pages-'))
  createKeysFile(join(folder, 'keys.json'), Date.now())
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, 'policy', name)), { recursive: true })
    await writeFile(join(folder, 'policy', name), text)
  }
  await writeFile(
    join(folder, 'postern.yaml'),
    `url: https://access.corp.example
session: { store: embedded }
keys_file: keys.json
data_dir: data
${mode === 'managed' ? `policy: managed\npolicy_seed: policy\npolicy_two_person: ${isTwoPerson}\nupstreams: { allow: ["*.internal"] }` : 'policy: policy'}
console: { roles: { admin: { groups: [postern-admins] } } }
provider: { issuer: https://login.corp.example, client_id: postern, client_secret: a-client-secret-0123456789abcdef }
`,
    { mode: 0o600 },
  )
  const { problems, value: configuration } = await loadConfiguration(join(folder, 'postern.yaml'), {})
  if (configuration === undefined) throw new Error(printProblems(problems, 'error'))
  const ring = loadKeys(configuration.keysFile, Date.now())
  const keys = () => ring
  const monotonicNow = () => performance.now()
  const events: AuditEvent[] = []
  const recordFirst = async (event: AuditEvent) => void events.push(event)
  const live = createLive({ store, loadLocks: async () => [], monotonicNow, keepSeconds: 3600, log: silentLog })
  const policy = await composePolicy({
    ...{ configuration, log: silentLog, now: Date.now, lookEveryMs: 50, onReload: () => undefined },
    revisions: { store, keys, live, audit: { settle: async () => true }, record: (event) => void events.push(event), monotonicNow },
  })
  const errands: RunningErrands = createErrands({
    ...{ store, keys, log: silentLog, now: Date.now, instance: 'host-a', version: '1.2.3', live, monotonicNow },
    policyVersion: () => policy.current().version,
  })
  await live.confirm()
  const places = await watchPlaces(configuration.facts, { log: silentLog, lookEveryMs: 10_000 })
  const noEnds = { endSessions: async () => ({ ended: 0 }) as never, endSubject: async () => ({ ended: 0 }) as never }
  const sealed = { store, keys, log: silentLog }
  const access = composeAccess({ ...sealed, configuration, now: Date.now, ends: noEnds, record: recordFirst })
  const gates = composeGates({
    ...{ ...sealed, configuration, errands, policy, monotonicNow, now: Date.now },
    visits: createAdminVisits(),
  })
  const tokens = { async *list() {} } as never
  const desk = composePolicyDesk({
    ...sealed,
    configuration,
    policy,
    tokens,
    findGates: gates.gates.find,
    mayStill: async () => true,
    recordFirst,
  })
  const trial = composeTrial({
    ...{ ...sealed, ...gates, configuration, errands, policy, access, recordFirst, now: Date.now, drafts: desk.drafts },
    readEnvironment: createEnvironmentReader(places),
    window: createTrailWindow({ window: undefined, monotonicNow }),
  })
  const digest = { seen: (kind: string) => (kind === 'email' ? [{ value: 'ada@corp.example', people: 1 }] : []) }
  const theme = composePolicyPages({
    ...{ configuration, policy, desk, trial, errands, tokens, carryOut: createCarryOut() },
    activity: digest,
  })
  const console = await startConsole({
    mounts: [theme.mount],
    roles: { admin: { kind: 'groups', groups: ['postern-admins', 'staff'] } },
  })
  const admin = console.asker('admin')
  const other = console.session('none')
  const second: Asker = {
    ...admin,
    actor: `person:${other.sub}`,
    label: 'second@corp.example',
    subject: { issuer: other.issuer, sub: other.sub },
  }

  const trailFolder = join(configuration.dataDir, 'audit')
  mkdirSync(trailFolder, { recursive: true })
  const chain = buildChain(trailFolder, 'host-a-1', createTestAuditKey(), Date.now() - 86_400_000)
  const ledger = createFactsLedger((event) => chain.add(event))

  async function begin(comment: string, files_: Bundle | undefined, by: Asker): Promise<string> {
    const begun = await desk.publishing.begin({ comment, bundle: files_ }, by)
    if (begun.outcome === 'refused') throw new TypeError(begun.message)
    return begun.draft.id
  }

  return {
    console,
    desk,
    policy,
    events,
    admin,
    second,
    begin: (comment = 'a test', given, by = admin) => begin(comment, given === undefined ? undefined : bundleOf(given), by),
    async change(id, given, by = admin) {
      const { version } = (await desk.drafts.load(id)) ?? { version: 0 }
      const done = await desk.drafts.change(id, { bundle: bundleOf(given), by: { by: by.actor, label: by.label }, version })
      if (done !== 'changed') throw new TypeError(done)
    },
    async publish(given, comment = 'meanwhile') {
      const head = await policy.revisions?.head()
      const wish = { bundle: bundleOf(given), predecessor: head?.number ?? 0, comment, asDraft: false }
      let answer = await desk.publishing.push({ ...wish, confirmations: [] }, second)
      if (answer.outcome === 'refused' && answer.problem === 'confirmation_needed') {
        const words = ((answer.detail?.['gates'] ?? []) as { word: string }[]).map(({ word }) => word)
        answer = await desk.publishing.push({ ...wish, confirmations: words }, second)
      }
      if (answer.outcome !== 'published' && answer.outcome !== 'unchanged') throw new TypeError(JSON.stringify(answer))
      const { number } = answer.revision
      await waitFor(() => policy.inForce().revision?.number === number)
      return number
    },
    decide(request, agoMs, { groups, sub } = { sub: 'u1', groups: ['staff'] }) {
      const subject = person({ sub, email: { known: true, value: `${sub}@corp.example` }, groups: { known: true, value: [...groups] } })
      const known: Facts = facts(subject)
      chain.setClock(Date.now() - agoMs)
      chain.add(
        decided(request, {
          ...{ host: 'wiki.corp.example', app: 'wiki', policy: policy.current().version, methodClass: 'read', path: '/' },
          subject: { kind: 'person', issuer: 'https://op.example', sub, email: `${sub}@corp.example` },
          facts: ledger.refer(known, []),
        }),
      )
      chain.checkpoint()
    },
    async close() {
      await console.close()
      places.close()
      await errands.close()
      await policy.close()
      await live.close()
      if (options.place === undefined) await place.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Waits until it is so. */
export async function waitFor(isSo: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<void> {
  const until = performance.now() + withinMs
  while (!(await isSo())) {
    if (performance.now() > until) throw new TypeError('it did not become so in time')
    await new Promise((resolve) => setTimeout(resolve, 15))
  }
}
