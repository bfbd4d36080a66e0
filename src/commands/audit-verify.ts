/**
 * `postern audit verify`: whether the trail is what was written, line by line, and whether all of it is there.
 *
 * With a configuration it takes the keys from the key file and asks the store what it remembers. With `--dir` and `--public-key` it needs
 * neither configuration nor store, and nothing of ours but the files: an auditor's laptop. What it could not ask it does not round up:
 * without the store's memory the verdict is never "complete". Exit status: 0 verified, 1 not verified, 2 could not run.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { type Command, InvalidArgumentError } from 'commander'
import type { Anchor, Anchors } from '../audit/chain.ts'
import { describeChain } from '../audit/verdict-words.ts'
import { verifyTrail } from '../audit/verify.ts'
import type { ChainProgress } from '../audit/verify-chain.ts'
import type { AuditPublicKeys } from '../audit/verify-statements.ts'
import type { TrailVerdict } from '../audit/verify-verdict.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { loadConfiguration, printProblems } from '../config/load-configuration.ts'
import { isPosternError, PosternError } from '../errors.ts'
import { createInstantParser } from './past-instant.ts'
import { printJson, printLine } from './print-line.ts'

export interface AuditVerifyParts {
  /** Epoch milliseconds. */
  readonly now: () => number
  /** Every public key that ever signed. Throws `keys_missing` and the like. */
  readonly loadAuditKeys: (configuration: InstanceConfiguration) => AuditPublicKeys
  /** What the store remembers. Rejects with `session_store_unavailable` where it cannot be asked; makes nothing that is not there. */
  readonly openAnchors: (
    configuration: InstanceConfiguration,
  ) => Promise<{ readonly anchors: Pick<Anchors, 'list'>; close(): Promise<void> }>
}

interface VerifyOptions {
  readonly config: string
  readonly dir?: readonly string[]
  readonly since?: number
  readonly publicKey?: ReadonlyMap<string, string>
  readonly json?: true
}

interface Verification {
  readonly folders: readonly string[]
  readonly keys: AuditPublicKeys
  readonly anchors: ReadonlyMap<string, Anchor> | undefined
  /** Why what the store remembers was not read, or not all of it. */
  readonly unread: string | undefined
  /** The store belongs to this instance alone, so every chain that it remembers is in its folder. */
  readonly isAllHere: boolean
}

/** Adds `verify` to the group `audit`. */
export function registerAuditVerify(audit: Command, parts: AuditVerifyParts): void {
  const command = audit
    .command('verify')
    .description('whether the trail is what was written, and all of it; names every line that is not')
    .option('--config <file>', 'instance configuration', 'config/postern.yaml')
    .option('--dir <folder...>', 'audit folders to verify in place of the instance’s own, one an instance')
    .option('--since <time>', 'from the segment on in which this lies: an instant, or an age such as 7d', createInstantParser(parts.now))
    .option('--public-key <kid=key>', 'a key to verify with (raw Ed25519, base64url); several times for several', parsePublicKey)
    .option('--json', 'print one JSON object')
  command.action(async (options: VerifyOptions) => {
    const verification = await prepare(options, command.getOptionValueSource('config') === 'cli', parts)
    if (verification === undefined) return
    const { anchors, folders, isAllHere, keys } = verification
    const progress = createProgress(process.stderr, parts.now)
    const isExpected = isAllHere ? () => true : undefined
    const verdict = await verifyTrail({ folders, keys, anchors, since: options.since, now: parts.now(), isExpected }, progress.show)
    progress.clear()
    if (verdict.chains.length === 0) throw new PosternError('audit_unavailable', `there is no trail in ${folders.join(', ')}`)
    if (options.json === true) console.log(printJson(statementOf(verdict, verification)))
    else for (const line of describeVerdict(verdict, verification)) console.log(printLine(line))
    process.exitCode = verdict.isVerified ? 0 : 1
  })
}

async function prepare(options: VerifyOptions, isConfigNamed: boolean, parts: AuditVerifyParts): Promise<Verification | undefined> {
  const { dir, publicKey } = options
  const missing = dir?.find((folder) => !existsSync(folder))
  if (missing !== undefined) throw new PosternError('audit_unavailable', `there is no folder ${missing}`)
  if (dir !== undefined && publicKey !== undefined && !isConfigNamed) {
    return { folders: dir, keys: publicKey, anchors: undefined, unread: 'no configuration was named', isAllHere: false }
  }
  const { value, problems } = await loadConfiguration(options.config)
  if (value === undefined) {
    console.error(printProblems(problems, 'error'))
    process.exitCode = 2
    return undefined
  }
  const keys = new Map([...parts.loadAuditKeys(value), ...(publicKey ?? [])])
  const isAllHere = dir === undefined && value.session.store.kind === 'embedded'
  const folders = dir ?? [join(value.dataDir, 'audit')]
  // Before any file is read: what is remembered now is on the disk now.
  return { folders, keys, isAllHere, ...(await loadAnchors(value, parts)) }
}

async function loadAnchors(
  configuration: InstanceConfiguration,
  { openAnchors }: AuditVerifyParts,
): Promise<Pick<Verification, 'anchors' | 'unread'>> {
  const all = new Map<string, Anchor>()
  try {
    const { anchors, close } = await openAnchors(configuration)
    try {
      for await (const anchor of anchors.list()) all.set(anchor.chain, anchor)
      return { anchors: all, unread: undefined }
    } finally {
      await close()
    }
  } catch (error) {
    if (!isPosternError(error)) throw error
    // One that does not open comes after all that do.
    return { anchors: error.code === 'record_unreadable' ? all : undefined, unread: error.message }
  }
}

/** The verdict for people: one line a chain, one a finding. */
export function describeVerdict(
  { chains, elsewhere, isVerified }: TrailVerdict,
  { unread }: { readonly unread: string | undefined },
): readonly string[] {
  const lines = chains.flatMap((chain) => [
    `${chain.chain}: ${describeChain(chain)}`,
    ...chain.findings.map(({ file, kind, line, message, seq }) => {
      const place = `${file}${line === 0 ? '' : `:${line}`}${seq === undefined ? '' : ` (seq ${seq})`}`
      return `  ${kind}  ${place}: ${message}`
    }),
    ...(chain.moreFindings > 0 ? [`  and ${chain.moreFindings} more`] : []),
  ])
  if (elsewhere.length > 0) {
    lines.push(
      `not in these folders, and remembered by the store: ${elsewhere.join(', ')} (another instance's? name its folder with --dir)`,
    )
  }
  if (unread !== undefined) {
    const what = `what the store remembers could not be read (${unread})`
    lines.push(`${what}: where it was not, lines may be missing at the end of a chain, and nobody can tell`)
  }
  const signed = chains.every(({ lines: count, signedThrough }) => count === 0 || signedThrough !== undefined)
  lines.push(!isVerified ? 'NOT VERIFIED' : signed ? 'verified' : 'verified, as far as it is signed')
  return lines
}

/** The verdict for programs. */
export function statementOf({ chains, elsewhere, isVerified }: TrailVerdict, { unread }: Pick<Verification, 'unread'>): object {
  return {
    verified: isVerified,
    complete: isVerified && unread === undefined && chains.every(({ anchored }) => anchored === 'reached'),
    store: unread === undefined ? 'read' : 'unread',
    chains: chains.map((chain) => ({
      folder: chain.folder,
      chain: chain.chain,
      lines: chain.lines,
      segments: chain.segments,
      first_seq: chain.firstSeq ?? null,
      last_seq: chain.lastSeq ?? null,
      signed_through: chain.signedThrough ?? null,
      anchored: chain.anchored,
      anchored_seq: chain.anchoredSeq ?? null,
      pruned_through: chain.prunedThrough ?? null,
      torn_bytes: chain.tornBytes,
      lost: chain.lost,
      findings: chain.findings.map(({ file, kind, line, message, seq }) => ({ kind, file, line, seq: seq ?? null, message })),
      more_findings: chain.moreFindings,
    })),
    elsewhere,
  }
}

const showEveryMs = 250

/** How far it is, on a terminal; nothing where nobody looks. */
function createProgress(stream: NodeJS.WriteStream, now: () => number) {
  let shownAt = 0
  return {
    show({ chain, lines, segment, segments }: ChainProgress): void {
      if (!stream.isTTY || now() - shownAt < showEveryMs) return
      shownAt = now()
      stream.write(`\r\x1b[K${printLine(`${chain}: segment ${segment} of ${segments}, ${lines} lines`)}`)
    },
    clear(): void {
      if (stream.isTTY && shownAt > 0) stream.write('\r\x1b[K')
    },
  }
}

function parsePublicKey(written: string, before: ReadonlyMap<string, string> | undefined): ReadonlyMap<string, string> {
  const found = /^([\w-]{1,128})=([\w-]{43})$/.exec(written)
  if (found?.[1] === undefined || found[2] === undefined) {
    throw new InvalidArgumentError('write the key id, `=`, and the 43 characters of the public key.')
  }
  return new Map([...(before ?? []), [found[1], found[2]]])
}
