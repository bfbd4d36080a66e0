/**
 * What the page of a verification shows: how far each instance is, and the verdict in the words of `postern audit verify`.
 *
 * Pure. Three verdicts are told apart, as there: not verified; verified but not known to be complete; verified and complete. Nothing is rounded up.
 */

import type { VerificationOutput } from '../operations/trail-schemas.ts'
import { type InstantView, instantView } from './instants.ts'
import type { Badge } from './trail-content.ts'

export interface PartView {
  readonly instance: string
  readonly badge: Badge
  /** 0 to 100. */
  readonly percent: number
  readonly note: string
  readonly isUnderWay: boolean
}

export interface VerificationPage {
  readonly run:
    | {
        readonly isRunning: boolean
        readonly begun: InstantView | undefined
        readonly reload: string
        readonly parts: readonly PartView[]
        readonly verdict: { readonly tone: 'good' | 'bad' | 'info'; readonly title: string; readonly text: string } | undefined
        readonly chains: readonly {
          readonly instance: string
          readonly chain: string
          readonly badge: Badge
          readonly words: string
          readonly findings: readonly { readonly kind: string; readonly place: string; readonly message: string }[]
          readonly more: number
        }[]
        readonly elsewhere: readonly string[]
        readonly silent: readonly { readonly instance: string; readonly why: string }[]
      }
    | undefined
  /** It was asked for one that is not known any more. */
  readonly isForgotten: boolean
}

/** The page of one, or of none yet. */
export function describeVerificationPage(
  run: VerificationOutput | undefined,
  { isForgotten, now }: { readonly now: number; readonly isForgotten: boolean },
): VerificationPage {
  if (run === undefined) return { run: undefined, isForgotten }
  const { result } = run
  return {
    isForgotten,
    run: {
      isRunning: run.state === 'running',
      begun: instantView(Date.parse(run.begun_at), now),
      reload: `/console/trail/verify?run=${encodeURIComponent(run.id)}`,
      parts: run.instances.map(describePart),
      verdict: result === null ? undefined : describeVerdict(result),
      chains: (result?.chains ?? []).map(({ chain, findings, instance, is_verified, more_findings, words }) => ({
        ...{ chain, instance, words, more: more_findings },
        badge: is_verified ? { tone: 'good' as const, word: 'verified' } : { tone: 'bad' as const, word: 'not verified' },
        findings: findings.map(({ file, kind, line, message, seq }) => ({
          kind: kind.replaceAll('_', ' '),
          place: `${file}${line === 0 ? '' : `:${line}`}${seq === null ? '' : ` (seq ${seq})`}`,
          message,
        })),
      })),
      elsewhere: result?.elsewhere ?? [],
      silent: result?.silent ?? [],
    },
  }
}

const partBadges: Readonly<Record<VerificationOutput['instances'][number]['state'], Badge>> = {
  waiting: { tone: 'quiet', word: 'waiting' },
  running: { tone: 'info', word: 'running' },
  done: { tone: 'good', word: 'done' },
  failed: { tone: 'bad', word: 'failed' },
  missing: { tone: 'bad', word: 'gone' },
}

/** How far an instance is; also of an access review. */
export function describePart({ fraction, instance, note, state }: VerificationOutput['instances'][number]): PartView {
  const percent = Math.round(Math.max(0, Math.min(1, fraction)) * 100)
  return { instance, badge: partBadges[state], percent, note, isUnderWay: state === 'waiting' || state === 'running' }
}

function describeVerdict({ complete, silent, verified }: NonNullable<VerificationOutput['result']>) {
  if (complete) {
    return {
      tone: 'good' as const,
      title: 'Verified and complete',
      text: 'Every line is as it was written, and every chain reaches to the line that the store remembers.',
    }
  }
  if (verified) {
    return {
      tone: 'info' as const,
      title: 'Verified, not known to be complete',
      text: 'Every line that is here is as it was written. Whether lines are missing at the end of a chain cannot be told everywhere.',
    }
  }
  return {
    tone: 'bad' as const,
    title: 'Not verified',
    text:
      silent.length > 0
        ? 'Not every instance could verify its own trail.'
        : 'Something in the trail is not as it was written. Each finding names its place.',
  }
}
