/**
 * What the tests of a managed policy share: instances' policies over one real store, each with its own folder, and what they put on record.
 */

import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect } from 'vitest'
import { type Bundle, toBundle } from './administration/policy-bundle.ts'
import type { Publication, Revision } from './administration/policy-history.ts'
import type { AuditEvent } from './audit/event.ts'
import { type ComposedPolicy, composePolicy } from './compose-policy.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { loadConfiguration, printProblems } from './config/load-configuration.ts'
import { createKeysFile, loadKeys } from './keys-file.ts'
import { createLive } from './live/create-live.ts'
import { type StorePlace, silentLog } from './session/session.fixture.ts'

/** A policy with one app, whose rule has this name. */
export const policyWith = (rule: string, more = '') =>
  `# what ${rule} may\napps:\n  - id: wiki\n    url: https://wiki.corp.example\n    upstream: http://wiki.internal:3000\n${more}    rules:\n      - { name: ${rule}, allow: { groups: [staff] } }\n`

/** A bundle of these texts. */
export const bundleOf = (files: Readonly<Record<string, string | Buffer>>): Bundle =>
  toBundle(Object.entries(files).map(([path, content]) => ({ path, content: Buffer.from(content) })))

/** A running policy, and what came of it. */
export interface PolicyInstance {
  readonly policy: ComposedPolicy
  readonly configuration: InstanceConfiguration
  readonly events: AuditEvent[]
  readonly reloads: string[]
  /** Name of the only rule in force. */
  rule(): string | undefined
  close(): Promise<void>
}

/** Machines on one store. */
export interface PolicyRig {
  readonly folder: string
  /** Puts a file where the seed lies. */
  writeSeed(name: string, text: string): Promise<void>
  /** The configuration file of a machine. */
  configure(machine: string, more?: string): Promise<string>
  /** Starts an instance on a machine; its folder outlives it. */
  start(machine: string, more?: string): Promise<PolicyInstance>
  /** Publishes as somebody would, whatever is in it. */
  publish(through: PolicyInstance, files: Readonly<Record<string, string | Buffer>>): Promise<Publication>
  close(): Promise<void>
}

/** Everything below one temporary folder. */
export async function openPolicyRig(place: StorePlace): Promise<PolicyRig> {
  const folder = await mkdtemp(join(tmpdir(), 'postern-managed-'))
  const running = new Set<PolicyInstance>()
  createKeysFile(join(folder, 'keys.json'), Date.now())

  const write = async (name: string, text: string) => {
    const file = join(folder, name)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, text, { mode: 0o600 })
    return file
  }

  async function configure(machine: string, more = ''): Promise<string> {
    const store = place.redis === undefined ? 'embedded' : `"${place.redis.url}"`
    return await write(
      `${machine}.yaml`,
      `url: https://access.corp.example
session: { store: ${store} }
keys_file: keys.json
data_dir: ${machine}
policy: managed
${more.includes('policy_seed:') ? '' : 'policy_seed: seed/policy.yaml'}
provider: { issuer: https://login.corp.example, client_id: postern, client_secret: a-client-secret-0123456789abcdef }
${more}
`,
    )
  }

  async function start(machine: string, more?: string): Promise<PolicyInstance> {
    const { problems, value: configuration } = await loadConfiguration(await configure(machine, more), {})
    if (configuration === undefined) throw new Error(printProblems(problems, 'error'))
    const ring = loadKeys(configuration.keysFile, Date.now())
    const events: AuditEvent[] = []
    const reloads: string[] = []
    const live = createLive({
      store: place.store,
      loadLocks: async () => [],
      monotonicNow: () => performance.now(),
      keepSeconds: 3600,
      log: silentLog,
    })
    try {
      const policy = await composePolicy({
        configuration,
        log: silentLog,
        now: Date.now,
        lookEveryMs: 20,
        onReload: (outcome, snapshot) => void reloads.push(`${outcome} ${snapshot.policy.apps.get('wiki')?.rules[0]?.name}`),
        revisions: {
          store: place.store,
          keys: () => ring,
          live,
          audit: { settle: async () => true },
          record: (event) => void events.push(event),
          monotonicNow: () => performance.now(),
        },
      })
      const instance: PolicyInstance = {
        policy,
        configuration,
        events,
        reloads,
        rule: () => policy.document().apps[0]?.rules[0]?.name,
        async close() {
          running.delete(instance)
          await policy.close()
          await live.close()
        },
      }
      running.add(instance)
      return instance
    } catch (error) {
      await live.close()
      throw error
    }
  }

  return {
    folder,
    configure,
    start,
    writeSeed: async (name, text) => void (await write(`seed/${name}`, text)),
    async publish(through, files) {
      const { revisions } = through.policy
      const head = await revisions?.head()
      const publication: Publication = {
        bundle: bundleOf(files),
        policyVersion: 'sha256-0123456789abcdef',
        difference: [],
        tests: undefined,
        comment: 'a test',
        by: { by: 'person:u1', label: 'alice@corp.example' },
        predecessor: head?.number ?? 0,
        approvals: [],
      }
      expect((await revisions?.publish(publication))?.outcome).toBe('published')
      return publication
    },
    async close() {
      await Promise.all([...running].map((instance) => instance.close()))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Every revision of the store with its files, the oldest first. */
export async function loadHistory({ policy: { revisions } }: PolicyInstance): Promise<readonly Revision[]> {
  const facts = (await revisions?.list({ below: undefined, limit: 100 })) ?? []
  const all = await Promise.all(facts.map(({ number }) => revisions?.load(number)))
  return all.flatMap((revision) => (revision === undefined ? [] : [revision])).reverse()
}
