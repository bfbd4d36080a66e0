/**
 * Two instances that try policies: a store, a trail each on the disk with decisions as the engine made them, drafts, people, and the operations as
 * the wiring connects them. For tests of gates, trials, impacts and what-ifs.
 */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Command } from 'commander'
import { vi } from 'vitest'
import { createAuditAnchors } from './administration/audit-anchors.ts'
import { createErrands, type RunningErrands } from './administration/errands-over-store.ts'
import { type AdminVisits, createAdminVisits } from './administration/gates-console.ts'
import { bundleOf, openHistory, personAsker } from './administration/policy.fixture.ts'
import { serveTrailErrands } from './administration/trail-errands.ts'
import { createTrailThreads } from './administration/trail-threads.ts'
import { createTrailWindow } from './administration/trail-window.ts'
import { createEnvironmentReader } from './attributes/environment-facts.ts'
import type { AuditEvent } from './audit/event.ts'
import { createFactsLedger } from './audit/recorded-facts.ts'
import { buildChain, type ChainBuilder, createTestAuditKey } from './audit/verify.fixture.ts'
import { decided } from './audit/written-trail.fixture.ts'
import type { OpenAdministration } from './commands/administer.ts'
import { registerExplain } from './commands/explain.ts'
import { registerReplay } from './commands/replay.ts'
import { composeAccess } from './compose-access.ts'
import { type ComposedGates, type ComposedTrial, composeGates, composeTrial } from './compose-trial.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { describeInstance } from './config/known-instance.ts'
import { loadConfiguration, printProblems } from './config/load-configuration.ts'
import { compileRoutes } from './enforcement/route-table.ts'
import { createKeysFile, loadKeys } from './keys-file.ts'
import { compilePolicy } from './policy/compile.ts'
import { decide } from './policy/decide.ts'
import type { PolicyDocument } from './policy/document.ts'
import type { Facts, SubjectFacts } from './policy/facts.ts'
import { facts } from './policy/policy.fixture.ts'
import { createPolicyJudge, type PolicyJudge } from './policy-judge.ts'
import { createTestLive, openEmbeddedPlace, type StorePlace, silentLog } from './session/session.fixture.ts'

/** Somebody who opens apps. */
export interface Visitor {
  readonly sub: string
  readonly groups?: readonly string[]
  /** What the trail leaves out. */
  readonly isRedacted?: boolean
}

export interface TrialInstance extends ComposedTrial, ComposedGates {
  readonly name: string
  readonly folder: string
  readonly visits: AdminVisits
  readonly errands: RunningErrands
  readonly recorded: AuditEvent[]
  /** Opens a page; the engine decides by the policy in force, and the decision is on record. Returns its request. */
  open(app: string, visitor: Visitor, agoMs: number, changes?: { readonly host?: string; readonly path?: string }): string
  /** What the console was opened with. */
  factsOf(visitor: Visitor): Facts
  stop(): Promise<void>
}

export interface TrialRig {
  readonly place: StorePlace
  readonly configuration: InstanceConfiguration
  readonly document: PolicyDocument
  readonly instances: readonly [TrialInstance, TrialInstance]
  readonly access: ReturnType<typeof composeAccess>
  readonly drafts: ReturnType<typeof openHistory>['drafts']
  readonly judge: PolicyJudge['judgeBundle']
  /** Begins a draft of a document; its id. */
  draft(text: string): Promise<string>
  /** What was opened is on the disk, and signed for. */
  settle(): Promise<void>
  signedIn(sub: string, groups: readonly string[]): Promise<void>
  /** What a command prints as JSON. */
  run(command: 'replay' | 'explain', args: readonly string[]): Promise<Record<string, unknown>>
  write(name: string, text: string): Promise<string>
  close(): Promise<void>
}

const sampleOf = (value: unknown) => ({ known: true as const, value })

/** Starts both under a policy. */
export async function openTrialRig(policyText: string, more = ''): Promise<TrialRig> {
  const place = await openEmbeddedPlace()
  const folder = await mkdtemp(join(tmpdir(), 'postern-trial-'))
  const now = place.clock.now
  const write = async (name: string, text: string) => {
    const file = join(folder, name)
    await writeFile(file, text, { mode: 0o600 })
    return file
  }
  await write('policy.yaml', policyText)
  const config = await write(
    'postern.yaml',
    `url: https://access.corp.example
keys_file: keys.json
data_dir: one
policy: policy.yaml
provider: { issuer: https://login.corp.example, client_id: postern, client_secret: a-client-secret-0123456789abcdef }
console: { roles: { admin: { groups: [admins] } }, require: [reachable] }
${more}
`,
  )
  createKeysFile(join(folder, 'keys.json'), Date.now())
  const loaded = await loadConfiguration(config, {})
  if (loaded.value === undefined) throw new Error(printProblems(loaded.problems, 'error'))
  const configuration = loaded.value
  const ring = loadKeys(configuration.keysFile, Date.now())
  const keys = () => ring
  const sealed = { store: place.store, keys, log: silentLog }
  const judge = createPolicyJudge({
    folder: join(folder, 'trials'),
    monotonicNow: () => performance.now(),
    question: () => ({ instance: describeInstance(configuration), areTestsRequired: false, now: now() }),
  })
  const { document, problems } = await judge.judgeBundle(bundleOf(policyText))
  if (document === undefined) throw new Error(JSON.stringify(problems))
  const compiled = compilePolicy(document)
  const snapshot = { version: document.version, policy: compiled, routes: compileRoutes(document, compiled) }
  const history = openHistory(place, { keys: ring })
  const access = composeAccess({
    ...sealed,
    ...{ configuration, now, record: () => undefined },
    ends: { endSessions: async () => ({ ended: 0, sessions: [] }) as never, endSubject: async () => undefined as never },
  })
  const anchors = createAuditAnchors(sealed)
  const key = createTestAuditKey()
  const running: RunningErrands[] = []
  const chains: ChainBuilder[] = []

  async function start(name: string): Promise<TrialInstance> {
    const dataDir = join(folder, name)
    const audit = join(dataDir, 'audit')
    await mkdir(audit, { recursive: true })
    const chain = buildChain(audit, `${name}-1`, key, now() - 3 * 86_400_000)
    chains.push(chain)
    const ledger = createFactsLedger((event) => chain.add(event))
    const live = createTestLive(place)
    const errands = createErrands({
      ...{ ...sealed, now, live, instance: name, version: '1', policyVersion: () => snapshot.version },
      monotonicNow: () => performance.now(),
    })
    running.push(errands)
    await live.confirm()
    serveTrailErrands({
      ...{ errands, anchors, now, folder: audit, threads: createTrailThreads(), isStoreShared: true },
      auditKeys: () => new Map([[key.kid, key.publicKey]]),
    })
    const visits = createAdminVisits()
    const recorded: AuditEvent[] = []
    const policy = { document: () => document as PolicyDocument, current: () => snapshot, judge: judge.judgeBundle }
    const own = { ...configuration, dataDir }
    const gates = composeGates({
      ...sealed,
      ...{ configuration: own, errands, policy, visits, now, timeouts: { askMs: 20_000, judgeMs: 20_000 } },
      monotonicNow: () => performance.now(),
    })
    const trial = composeTrial({
      ...sealed,
      ...gates,
      ...{ configuration: own, now, errands, policy, access, drafts: history.drafts },
      readEnvironment: createEnvironmentReader({}),
      window: createTrailWindow({ window: undefined, monotonicNow: () => performance.now() }),
      recordFirst: async (event) => void recorded.push(event),
    })
    let count = 0
    const factsOf = ({ groups = ['staff'], sub }: Visitor, signedInAt = now() - 60_000): Facts => {
      const subject: SubjectFacts = {
        kind: 'person',
        issuer: configuration.provider.issuer.href,
        sub,
        email: { known: true, value: `${sub}@corp.example` },
        groups: { known: true, value: groups },
        claims: { known: true, value: {} },
        claimsAt: now(),
      }
      const bare = facts(subject)
      const signIn = { known: true as const, value: { at: sampleOf(signedInAt), acr: sampleOf('basic'), amr: sampleOf(['pwd']) } }
      return {
        ...bare,
        signIn: signIn as Facts['signIn'],
        device: { known: false, why: 'no_device' },
        environment: { ...bare.environment, at: now() },
      }
    }
    return {
      ...{ name, folder: audit, visits, errands, recorded, factsOf },
      ...gates,
      ...trial,
      open(app, visitor, agoMs, { host = `${app}.corp.example`, path = '/' } = {}) {
        count += 1
        const request = `${name}-request-${count}`
        const at = now() - agoMs
        chain.setClock(at)
        const whole = factsOf(visitor, at - 60_000)
        const asked = { ...whole, request: { ...whole.request, path }, environment: { ...whole.environment, at } }
        const compiledApp = compiled.apps.get(app)
        if (compiledApp === undefined) throw new TypeError(`there is no app ${app}`)
        const decision = decide(compiledApp, asked)
        const { subject } = asked
        if (subject.kind !== 'person') throw new TypeError('a visitor is a person')
        const written: SubjectFacts =
          visitor.isRedacted === true ? { ...subject, groups: { known: false, why: 'redacted' as never } } : subject
        chain.add(
          decided(request, {
            subject: { kind: 'person', issuer: subject.issuer, sub: visitor.sub, email: `${visitor.sub}@corp.example` },
            ...{ app, host, path, policy: snapshot.version, method: 'GET', methodClass: 'read', decidedAt: at, claimsAt: at },
            effect: decision.effect,
            reason: decision.reason,
            rule: 'rule' in decision ? decision.rule : undefined,
            facts: ledger.refer({ ...asked, subject: written }, []),
          }),
        )
        return request
      },
      stop: () => errands.close(),
    }
  }

  const instances = [await start('one'), await start('two')] as const
  await Promise.all(running.map((errands) => errands.instances()))
  const administration = {
    ...{ actor: 'os:test@host', people: access.people, devices: access.devices, locks: access.locks },
    recordFirst: async () => undefined,
    close: async () => undefined,
  }
  const openAdministration = (async () => administration) as unknown as OpenAdministration

  return {
    ...{ place, configuration, document, access, judge: judge.judgeBundle, drafts: history.drafts, write },
    instances: [instances[0], instances[1]],
    async draft(text) {
      const base = { revision: undefined, policyVersion: document.version, hash: 'x', bundle: bundleOf(policyText) }
      const begun = await history.drafts.begin({ comment: 'a test', by: { by: 'person:ada', label: 'ada' }, base, bundle: bundleOf(text) })
      if (typeof begun === 'string') throw new TypeError(begun)
      return begun.id
    },
    async settle() {
      for (const chain of chains) {
        chain.setClock(now())
        chain.checkpoint()
        await anchors.save(chain.anchor())
      }
    },
    async signedIn(sub, groups) {
      const issuer = configuration.provider.issuer.href
      const all = { sub, email: `${sub}@corp.example`, email_verified: true, groups: [...groups] }
      const signIn = { at: now(), authTime: undefined, acr: undefined, amr: ['pwd'] }
      await access.people.recordPerson({ issuer, sub, claims: { all, at: now(), version: 1 }, signIn } as never)
    },
    async run(command, args) {
      const program = new Command().exitOverride()
      const parts = { now, openAdministration, log: silentLog }
      if (command === 'replay') registerReplay(program, parts)
      else registerExplain(program, parts)
      const printed: string[] = []
      const log = vi.spyOn(console, 'log').mockImplementation((text: string) => void printed.push(text))
      const complained = vi.spyOn(console, 'error').mockImplementation((text: string) => void printed.push(text))
      const before = process.exitCode
      try {
        await program.parseAsync([command, ...args, '--config', config, '--json'], { from: 'user' })
      } finally {
        log.mockRestore()
        complained.mockRestore()
        process.exitCode = before
      }
      return JSON.parse(printed.join('')) as Record<string, unknown>
    },
    async close() {
      await Promise.all(running.map((errands) => errands.close()))
      judge.close()
      await place.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** An admin of this deployment. */
export function adminOf({ configuration }: Pick<TrialRig, 'configuration'>, sub: string): ReturnType<typeof personAsker> {
  return { ...personAsker(sub), subject: { issuer: configuration.provider.issuer.href, sub } }
}
