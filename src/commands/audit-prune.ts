/**
 * `postern audit prune`: removes the oldest part of the trail on purpose, and leaves one that verifies.
 *
 * What is removed is stated in the trail first, with who did it; nothing goes before that statement is signed and on the disk. Also of a
 * running instance, whose last segment stays; a chain that nobody writes any more may go as a whole. Exit status: 0 done, 2 could not run.
 */

import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Command, InvalidArgumentError } from 'commander'
import { createAuditAnchors } from '../administration/audit-anchors.ts'
import { lockFolder } from '../audit/folder-lock.ts'
import { type PruningParts, prune } from '../audit/pruning.ts'
import { type ChainReach, chainFolder, type PrunePlan, planPruning } from '../audit/retention-plan.ts'
import { listChains, listSegments } from '../audit/trail-files.ts'
import { readChain } from '../audit/verify-chain.ts'
import { isPosternError, PosternError } from '../errors.ts'
import { createLogger } from '../log.ts'
import { administer, type OpenAdministration } from './administer.ts'
import { printJson, printLine } from './print-line.ts'

export interface AuditPruneParts {
  readonly openAdministration: OpenAdministration
  /** Epoch milliseconds. */
  readonly now: () => number
}

interface PruneOptions {
  readonly config: string
  /** Seconds. */
  readonly olderThan?: number
  readonly toSize?: number
  readonly dryRun?: true
  readonly json?: true
}

/** A running instance signs what it was told at once and writes it within a second. */
const statedWithinMs = 10_000

/** Adds `prune` to the group `audit`. */
export function registerAuditPrune(audit: Command, { now, openAdministration }: AuditPruneParts): void {
  audit
    .command('prune')
    .description('remove the oldest part of the trail; what is left verifies')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--older-than <age>', 'segments that ended so long ago, such as 90d', parseAge)
    .option('--to-size <size>', 'the oldest segments until the rest takes no more than this, such as 5GiB', parseSize)
    .option('--dry-run', 'only say what would go')
    .option('--json', 'print one JSON object')
    .action(async (options: PruneOptions) => {
      const { dryRun, olderThan, toSize } = options
      if (olderThan === undefined && toSize === undefined) {
        console.error('postern: say what is to go: --older-than, --to-size, or both')
        process.exitCode = 2
        return
      }
      await administer(options.config, openAdministration, async ({ actor, keys, recordFirst, store }, { dataDir }) => {
        const folder = join(dataDir, 'audit')
        const limits = { olderThan: olderThan === undefined ? undefined : now() - olderThan * 1000, bytes: toSize }
        const publicKeys = keys().audit.all
        const plan = await planPruning(folder, limits, await findReaches(folder), publicKeys)
        if (dryRun !== true) {
          const state: PruningParts['state'] = async (statements) => {
            for (const statement of statements) await recordFirst(statement)
            await waitUntilStated(folder, publicKeys, statements)
          }
          const anchors = createAuditAnchors({ store, keys, log: createLogger('warn', 'stderr') })
          await prune(plan, { folder, actor, cause: 'command', keys: publicKeys, anchors, state, ownChain: undefined }).catch(unwrap)
        }
        report(plan, options)
      })
    })
}

/** What a system call says is for the person at the terminal as it is. */
function unwrap(error: unknown): never {
  if (isPosternError(error)) throw error
  throw new PosternError('audit_unavailable', `the trail could not be pruned: ${error instanceof Error ? error.message : String(error)}`, {
    cause: error,
  })
}

/** A chain that is being written keeps its last segment. */
async function findReaches(folder: string): Promise<(chain: string) => ChainReach> {
  const reaches = new Map<string, ChainReach>()
  for (const chain of await listChains(folder)) {
    if ((await listSegments(folder, chain)).length === 0) continue
    const lock = await lockFolder(chainFolder(folder, chain))
    reaches.set(chain, lock === undefined ? 'closed' : 'whole')
    lock?.release()
  }
  return (chain) => reaches.get(chain) ?? 'none'
}

/** Whoever wrote it down, this process or the running instance: it counts once it stands in a file and a checkpoint covers it. */
async function waitUntilStated(
  folder: string,
  keys: ReadonlyMap<string, string>,
  statements: readonly { readonly chain: string; readonly throughSeq: number; readonly head: string }[],
): Promise<void> {
  const until = performance.now() + statedWithinMs
  for (;;) {
    const found = new Set<string>()
    for (const chain of await listChains(folder)) {
      const last = (await listSegments(folder, chain)).at(-1)?.number
      if (last === undefined) continue
      // It may have been the last line of a segment that ended with it.
      const only = { from: last - 1, through: last }
      const { pruned } = await readChain({ folder, chain, keys, anchor: 'unread', only })
      for (const one of pruned.signed) found.add(nameOf(one))
    }
    if (statements.every((one) => found.has(nameOf(one)))) return
    if (performance.now() > until)
      throw new PosternError('audit_unavailable', `what is to be removed is not yet stated and signed in ${folder}`)
    await delay(100)
  }
}

const nameOf = ({ chain, head, throughSeq }: { readonly chain: string; readonly throughSeq: number; readonly head: string }) =>
  `${chain} ${throughSeq} ${head}`

function report({ bytesAfter, bytesBefore, chains }: PrunePlan, { dryRun, json }: PruneOptions): void {
  if (json === true) {
    const pruned = chains.map(({ bytes, chain, isWhole, segments, throughSeq }) => ({
      ...{ chain, segments: segments.length, through_seq: throughSeq, bytes, whole: isWhole },
    }))
    console.log(printJson({ dry_run: dryRun === true, pruned, bytes_before: bytesBefore, bytes_after: bytesAfter }))
    return
  }
  const verb = dryRun === true ? 'Would remove' : 'Removed'
  for (const { bytes, chain, isWhole, segments, throughSeq } of chains) {
    const what = isWhole ? 'all of it' : `up to seq ${throughSeq}`
    console.log(printLine(`${verb} ${segments.length} segments of ${chain} (${describeBytes(bytes)}), ${what}.`))
  }
  if (chains.length === 0) console.log('Nothing is to be removed.')
  console.log(`The trail takes ${describeBytes(dryRun === true ? bytesBefore : bytesAfter)}.`)
}

function describeBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let count = bytes
  for (; count >= 1024 && unit < units.length - 1; unit++) count /= 1024
  return `${unit === 0 ? count : count.toFixed(1)} ${units[unit]}`
}

function parseAge(written: string): number {
  const found = /^(\d{1,6})(s|m|h|d)$/.exec(written)
  const seconds = { s: 1, m: 60, h: 3600, d: 86_400 }[found?.[2] ?? ''] ?? 0
  if (found === null || seconds === 0) throw new InvalidArgumentError('write a duration such as 90d or 12h.')
  return Number(found[1]) * seconds
}

function parseSize(written: string): number {
  const found = /^(\d{1,12})(B|KiB|MiB|GiB|TiB)$/.exec(written)
  const power = ['B', 'KiB', 'MiB', 'GiB', 'TiB'].indexOf(found?.[2] ?? '')
  if (found === null || power === -1) throw new InvalidArgumentError('write a size such as 500MiB or 5GiB.')
  return Number(found[1]) * 1024 ** power
}
