/**
 * What the trail says about itself, checked: headers of segments, checkpoints, repairs, prunings.
 *
 * Only a checkpoint whose signature holds proves anything, and only for the unbroken run of lines before it. The key in a header is what the
 * writer says it used; what counts are the keys that the verifier was given.
 */

import { createPublicKey, type KeyObject } from 'node:crypto'
import { type ChainHead, isCheckpointSigned, lineForm } from './chain.ts'
import { parseTrailLine, type TrailLine } from './trail-files.ts'
import { describeRange, type PlacedLine, type SeenLine } from './verify-order.ts'
import type { FindingKind, Findings } from './verify-verdict.ts'

/** Raw Ed25519 public keys, base64url, by key id. */
export type AuditPublicKeys = ReadonlyMap<string, string>

/** That a chain was pruned through a line, as some chain says. */
export interface PruneStatement {
  readonly chain: string
  readonly throughSeq: number
  readonly head: string
}

/** As it was read. */
export interface StatedPruning extends PruneStatement {
  /** Epoch milliseconds. */
  readonly at: number
}

export interface StatementCheck {
  /** A line about the trail, in its place in the chain. */
  onLine(line: PlacedLine & { readonly text: string }): void
  /** What is before the next line is not what was before it. */
  onBreak(line: PlacedLine): void
  isSigned(line: PlacedLine): boolean
  /** The first line of a file. */
  onFirst(line: SeenLine): void
  /** The lines `first` to `through` were found missing; a repair may explain it. */
  noteGap(gap: { readonly first: number; readonly through: number; readonly at: SeenLine }): void
  signedThrough(): number | undefined
  /** Signed ones, and those that no checkpoint covers yet. */
  pruned(): { readonly signed: readonly StatedPruning[]; readonly unsigned: readonly StatedPruning[] }
  lost(): number
}

export interface StatementParts {
  readonly chain: string
  readonly keys: AuditPublicKeys
  readonly findings: Findings
}

type Signature = 'good' | 'bad' | 'unknown_key' | 'malformed'

/** A checkpoint has these and nothing else, so that no byte of one is unsigned. */
const checkpointFields = 'seq,prev,at,event,instance,chain,key,signature'

/** The check of one chain. */
export function createStatementCheck({ chain, findings, keys }: StatementParts): StatementCheck {
  const publicKeys = new Map<string, KeyObject>()
  let signedThrough: number | undefined
  let runStart: number | undefined
  let pending: StatedPruning[] = []
  const signed: StatedPruning[] = []
  let gap: { readonly first: number; readonly through: number; readonly at: SeenLine } | undefined
  let lost = 0

  const report = (kind: FindingKind, line: SeenLine, message: string) =>
    findings.report({ kind, file: line.file, line: line.line, seq: line.seq, message })

  function findPublicKey(kid: string): KeyObject | undefined {
    const text = keys.get(kid)
    if (text === undefined) return undefined
    const known = publicKeys.get(kid) ?? createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: text }, format: 'jwk' })
    publicKeys.set(kid, known)
    return known
  }

  function judgeSignature(line: PlacedLine, fields: TrailLine): Signature {
    const { at, chain: named, instance, key, signature } = fields
    if (typeof at !== 'string' || typeof instance !== 'string' || typeof key !== 'string' || typeof signature !== 'string')
      return 'malformed'
    // Base64url has spare bits: another text of the same bytes is another line. The last line has no next one whose hash would tell.
    const isExact = Buffer.from(signature, 'base64url').toString('base64url') === signature
    const isCanonical = line.text !== undefined && (line.text.includes('\\') || line.text === JSON.stringify(fields))
    if (!isExact || !isCanonical || Object.keys(fields).join() !== checkpointFields) return 'malformed'
    const publicKey = findPublicKey(key)
    if (publicKey === undefined) return 'unknown_key'
    // The chain is the folder's name: a checkpoint of another chain that says so proves nothing here.
    const claim = { at, chain, instance, prev: line.prev, seq: line.seq }
    return named === chain && isCheckpointSigned(claim, signature, publicKey) ? 'good' : 'bad'
  }

  function onCheckpoint(line: PlacedLine, fields: TrailLine) {
    const judgement = judgeSignature(line, fields)
    switch (judgement) {
      case 'good':
        signedThrough = line.seq
        signed.push(...pending)
        pending = []
        return
      case 'malformed':
        return report('changed', line, 'it is not formed like a checkpoint')
      case 'unknown_key':
        return report('unknown_key', line, `it is signed with the key ${quoted(fields['key'])}, which is not among those given`)
      case 'bad': {
        const from = Math.max(runStart ?? 1, (signedThrough ?? 0) + 1)
        const what = `${describeRange(from, line.seq)} not as they were written, or it was signed with another key`
        return report('bad_signature', line, `the signature of the key ${quoted(fields['key'])} does not hold: ${what}`)
      }
    }
  }

  function onHeader(line: PlacedLine, fields: TrailLine) {
    const { chain: named, form, key, public_key: publicKey, segment } = fields
    if (named !== chain) return report('misplaced', line, `it begins a segment of the chain ${quoted(named)}`)
    if (segment !== line.segment) return report('misplaced', line, `it begins segment ${quoted(segment)}, not ${line.segment}`)
    if (form !== lineForm) return report('unknown_form', line, `its lines are of form ${quoted(form)}; this version knows form ${lineForm}`)
    const given = typeof key === 'string' ? keys.get(key) : undefined
    if (given === undefined) return report('unknown_key', line, `it names the key ${quoted(key)}, which is not among those given`)
    if (given !== publicKey) report('unknown_key', line, `it states another public key for ${quoted(key)} than the one given`)
  }

  function onRepair(line: PlacedLine, { anchored_seq: anchored, found_seq: found }: TrailLine) {
    if (typeof anchored !== 'number' || typeof found !== 'number' || anchored <= found) return
    const message = `${describeRange(found + 1, anchored)} gone: the store remembered them when the instance started and its files did not have them`
    // The same gap, at the line where it begins to show.
    const at = gap !== undefined && gap.first === found + 1 && gap.through === anchored ? gap.at : line
    findings.explain({ kind: 'lost_before_start', file: at.file, line: at.line, seq: at.seq, message })
  }

  return {
    onLine(line) {
      const fields = parseTrailLine(line.text)
      if (fields === undefined) return report('changed', line, 'it is not JSON')
      switch (fields['event']) {
        case 'audit.segment_started':
          return onHeader(line, fields)
        case 'audit.checkpoint':
          return onCheckpoint(line, fields)
        case 'audit.repaired':
          return onRepair(line, fields)
        case 'audit.resumed':
          lost += Number(fields['lost']) || 0
          return
        case 'audit.pruned': {
          const { at, chain: of, head, through_seq: throughSeq } = fields
          if (typeof of === 'string' && typeof head === 'string' && typeof throughSeq === 'number') {
            pending.push({ chain: of, head, throughSeq, at: Date.parse(String(at)) })
          }
          return
        }
        default:
          return
      }
    },
    onBreak(line) {
      // No checkpoint that follows can speak for what was said before.
      pending = []
      runStart = line.seq
    },
    isSigned(line) {
      const fields = line.text === undefined ? undefined : parseTrailLine(line.text)
      return fields?.['event'] === 'audit.checkpoint' && judgeSignature(line, fields) === 'good'
    },
    onFirst(line) {
      const isHeader = line.text !== undefined && parseTrailLine(line.text)?.['event'] === 'audit.segment_started'
      if (!isHeader) report('misplaced', line, 'a segment begins with a line that says which one it is; this is none')
    },
    noteGap(noted) {
      gap = noted
    },
    signedThrough: () => signedThrough,
    pruned: () => ({ signed, unsigned: pending }),
    lost: () => lost,
  }
}

/** Whether `statement` says that the chain was pruned up to the line before `first`. */
export function isPrunedBefore({ head, throughSeq }: PruneStatement, first: { readonly seq: number; readonly prev: string }): boolean {
  return throughSeq === first.seq - 1 && head === first.prev
}

/** Whether `statement` is about the line at `head`. */
export function isPrunedThrough(statement: PruneStatement, head: ChainHead): boolean {
  return statement.throughSeq === head.seq && statement.head === head.hash
}

/** What stands in a line may be anybody's text by then. */
function quoted(value: unknown): string {
  return JSON.stringify(typeof value === 'string' ? value.slice(0, 128) : value) ?? 'undefined'
}
