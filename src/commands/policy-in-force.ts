/**
 * The policy as a command judges by it: the files of the configuration, or of a managed policy the revision that is in force.
 *
 * That is the head in the store; where the store cannot be asked, what an instance on this machine last had in force; and before the first
 * revision, the files that it is to be made of. Which of them it was is said on standard error, so that nobody takes one for another. Nothing
 * is made that is not there.
 */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Revision } from '../administration/policy-history.ts'
import { writeBundle } from '../config/bundle-files.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { type LoadedPolicy, loadPolicy, type PolicyForm } from '../config/load-policy.ts'
import { findPolicyTests } from '../config/load-policy-tests.ts'
import { isPosternError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { lastInForce, mirrorFolder, openPolicyMirror } from '../policy-mirror.ts'
import { printLine } from './print-line.ts'

/** A loaded policy with its files, until `close`. */
export interface PolicyInForceForCommand extends LoadedPolicy {
  /** Where its files lie now. */
  readonly path: string
  readonly form: PolicyForm
  /** The number of the revision; `undefined` for files. */
  readonly revision: number | undefined
  /** Its own tests. */
  readonly testFiles: readonly string[]
  close(): Promise<void>
}

export interface PolicyInForceOptions {
  /** Epoch milliseconds, for warnings of what is over. */
  readonly now?: number | undefined
  /** `false`: connects to nothing. */
  readonly isStoreAsked?: boolean
}

/** What of a configuration is needed; parts of one that has problems will do. */
type Configuration = Partial<InstanceConfiguration> & Pick<InstanceConfiguration, 'policyPath'>

/** Loads it, and keeps its files until `close`. What is wrong is in the result; rejects only with `PosternError`. */
export async function openPolicyInForce(
  configuration: Configuration,
  options: PolicyInForceOptions = {},
): Promise<PolicyInForceForCommand> {
  if (configuration.policyMode !== 'managed') return await open(configuration, options, { path: configuration.policyPath, form: 'files' })
  const found = await findManaged(configuration, options.isStoreAsked !== false)
  console.error(printLine(`postern: the policy is ${found.words}`))
  return await open(configuration, options, found)
}

/** The same where only the document is wanted. */
export async function loadPolicyInForce(configuration: Configuration, options: PolicyInForceOptions = {}): Promise<LoadedPolicy> {
  const policy = await openPolicyInForce(configuration, options)
  await policy.close()
  return policy
}

interface Found {
  readonly path: string
  readonly form: PolicyForm
  readonly revision?: number
  /** To be removed after use. */
  readonly temporary?: string
}

async function open(configuration: Configuration, { now }: PolicyInForceOptions, found: Found): Promise<PolicyInForceForCommand> {
  const { form, path, revision, temporary } = found
  const close = async () => {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
  }
  try {
    const loaded = await loadPolicy(path, { configuration, now, form })
    return { ...loaded, path, form, revision, testFiles: await findPolicyTests(path, form), close }
  } catch (error) {
    await close()
    throw error
  }
}

async function findManaged(configuration: Configuration, isStoreAsked: boolean): Promise<Found & { readonly words: string }> {
  const stored = isStoreAsked ? await loadHead(configuration) : 'it was not asked'
  if (typeof stored === 'object') {
    const temporary = await mkdtemp(join(tmpdir(), 'postern-policy-'))
    const path = join(temporary, 'policy')
    await writeBundle(path, stored.bundle)
    return { path, temporary, form: 'bundle', revision: stored.number, words: `revision ${stored.number}, the head in the store` }
  }
  const why = `the store does not say: ${stored}`
  const mirrored = configuration.dataDir === undefined ? undefined : await findMirrored(configuration.dataDir)
  if (mirrored !== undefined)
    return { ...mirrored, words: `revision ${mirrored.revision}, as it was last in force on this machine; ${why}` }
  return { path: configuration.policyPath, form: 'files', words: `${configuration.policyPath}, of which revision 1 is made; ${why}` }
}

async function findMirrored(dataDir: string): Promise<(Found & { readonly revision: number }) | undefined> {
  const mirror = openPolicyMirror(mirrorFolder(dataDir))
  const known = await mirror.load()
  const facts = known === undefined ? undefined : lastInForce(known)
  const bundle = facts === undefined ? undefined : await mirror.loadBundle(facts)
  if (facts === undefined || bundle === undefined) return undefined
  // It is there, as it was, so nothing is written.
  return { path: await mirror.materialise(bundle), form: 'bundle', revision: facts.number }
}

/** The head, or the reason why there is none to be had. */
async function loadHead(configuration: Configuration): Promise<Revision | string> {
  const { dataDir, keysFile, session } = configuration
  if (dataDir === undefined || keysFile === undefined || session === undefined) return 'the configuration has problems'
  try {
    // Loaded by whoever needs it: with files nothing of a store does.
    const { openPolicyHistory } = await import('../compose-life.ts')
    const history = await openPolicyHistory({ dataDir, keysFile, session }, createLogger('error', 'stderr'))
    if (history === undefined) return 'there is none yet'
    try {
      const head = await history.revisions.head()
      const revision = head === undefined ? undefined : await history.revisions.load(head.number)
      return revision ?? 'it has no policy'
    } finally {
      await history.close()
    }
  } catch (error) {
    if (isPosternError(error)) return error.message
    throw error
  }
}
