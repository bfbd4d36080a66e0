/**
 * A verdict in words, the same at the command line and in the console. What could not be asked is said, and never rounded up: "complete" is
 * a chain only if the store remembers its end.
 */

import type { ChainVerdict } from './verify-verdict.ts'

/** One chain's verdict as a sentence: what was read, how far it is signed, and what is not known. */
export function describeChain(chain: ChainVerdict): string {
  const { anchored, anchoredSeq, firstSeq, findings, lastSeq, lines, lost, moreFindings, prunedThrough, segments, signedThrough } = chain
  const count = findings.length + moreFindings
  const read = `lines ${firstSeq ?? 0} to ${lastSeq ?? 0} in ${segments} ${segments === 1 ? 'segment' : 'segments'}`
  if (count > 0)
    return `NOT VERIFIED: ${count} ${count === 1 ? 'finding' : 'findings'} in ${lines === 0 ? 'a chain that is not here' : read}`
  if (lastSeq === undefined) return 'nothing in it yet'
  const unsigned = lastSeq - (signedThrough ?? (firstSeq ?? 1) - 1)
  return [
    signedThrough === undefined
      ? `not signed yet, and ${read} hang together`
      : anchored === 'reached'
        ? `verified and complete: ${read}; the store remembers line ${anchoredSeq}`
        : `verified up to the checkpoint at seq ${signedThrough}: ${read}; ${notComplete(chain)}`,
    ...(signedThrough !== undefined && unsigned > 0 ? [`${unsigned} after seq ${signedThrough} are chained but not signed yet`] : []),
    ...(prunedThrough === undefined ? [] : [`pruned through seq ${prunedThrough}, by a signed statement`]),
    ...(lost > 0 ? [`says itself that it lost ${lost} lines for want of room or a disk that failed`] : []),
  ].join('; ')
}

function notComplete({ anchored, anchoredSeq }: ChainVerdict): string {
  if (anchored === 'older') return `not complete: the store remembers only line ${anchoredSeq}, which is before it`
  return anchored === 'none' ? 'not complete: the store remembers nothing of this chain' : 'not complete: the store was not asked'
}
