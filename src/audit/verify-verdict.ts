/**
 * What a verification says: one verdict a chain, and of everything that does not fit one finding that names its place.
 *
 * A finding names the line that was changed, or else the first one that no longer fits to what is before it. Nothing here is a guess about who
 * did it: a disk that lost its end and a person who cut it off leave the same trace.
 */

/** What can be wrong. One spelling everywhere; `docs/audit-verification.md` explains each. */
export type FindingKind =
  /** The line is not what the next one, or its signature, says it was; or it is no line of a trail. */
  | 'changed'
  | 'removed'
  | 'inserted'
  | 'duplicated'
  | 'reordered'
  /** A file ends in half a line although others follow it. */
  | 'torn'
  /** A file cannot be read, or not to its end. */
  | 'unreadable'
  /** A line of another chain, or of another segment, or a segment without its first line. */
  | 'misplaced'
  /** The chain does not begin at its beginning, and no signed statement says that it was pruned. */
  | 'beginning_missing'
  /** The chain ends before the line that the store remembers. */
  | 'cut_off'
  /** The instance itself found at a start that lines which the store remembers were gone. */
  | 'lost_before_start'
  /** The store remembers another line of this number. */
  | 'anchor_differs'
  /** A checkpoint or a segment names a key that is not among those given. */
  | 'unknown_key'
  /** The key is known and the signature is not its own over what stands here. */
  | 'bad_signature'
  /** So many lines without a checkpoint that there must have been one. */
  | 'unsigned'
  /** A form of lines that this version does not know. */
  | 'unknown_form'
  /** The store remembers a chain that should be in these folders and is not. */
  | 'chain_missing'

export interface Finding {
  readonly kind: FindingKind
  readonly file: string
  /** Counted from 1; 0: the file as a whole. */
  readonly line: number
  readonly seq: number | undefined
  /** One sentence, without the place. */
  readonly message: string
}

/**
 * How a chain stands to the head that the store remembers: `reached`, or `missed` (a finding says how); `older`: it is of a line before those
 * that were read; `none`: the store remembers none; `unread`: there was no store to ask.
 */
export type Anchored = 'reached' | 'missed' | 'older' | 'none' | 'unread'

export interface ChainVerdict {
  readonly folder: string
  readonly chain: string
  readonly lines: number
  readonly segments: number
  /** `undefined` where there is no line. */
  readonly firstSeq: number | undefined
  readonly lastSeq: number | undefined
  /** Of the last checkpoint whose signature holds; what is after it is chained and not signed yet. */
  readonly signedThrough: number | undefined
  readonly anchored: Anchored
  readonly anchoredSeq: number | undefined
  /** What a signed statement says was pruned; `undefined` where nothing was. */
  readonly prunedThrough: number | undefined
  /** Bytes of a last line that is being written, or was when the process ended. */
  readonly tornBytes: number
  /** Lines that the trail itself says it could not write. */
  readonly lost: number
  /** In the order of the files; at most `mostFindings`. */
  readonly findings: readonly Finding[]
  /** How many more there were. */
  readonly moreFindings: number
}

export interface TrailVerdict {
  readonly chains: readonly ChainVerdict[]
  /** Chains that the store remembers and that are not in these folders: another instance's. */
  readonly elsewhere: readonly string[]
  /** Nothing was found, and there was something to verify. */
  readonly isVerified: boolean
}

/** One is enough to say no; a thousand would hide it. */
export const mostFindings = 100

/** Where findings are gathered. */
export interface Findings {
  report(finding: Finding): void
  /** Replaces what was said about this place by something better. */
  explain(finding: Finding): void
  list(): readonly Finding[]
  more(): number
}

/** No findings yet. Of one line, the first is kept, unless a later one says that the line itself was changed. */
export function createFindings(): Findings {
  const byPlace = new Map<string, Finding>()
  let more = 0
  const placeOf = ({ file, line }: Finding) => `${file}:${line}`
  return {
    report(finding) {
      const known = byPlace.get(placeOf(finding))
      if (known === undefined && byPlace.size >= mostFindings) more += 1
      else if (known === undefined || finding.kind === 'changed') byPlace.set(placeOf(finding), finding)
    },
    explain(finding) {
      if (byPlace.has(placeOf(finding)) || byPlace.size < mostFindings) byPlace.set(placeOf(finding), finding)
    },
    list: () => [...byPlace.values()].sort((a, b) => (a.file === b.file ? a.line - b.line : a.file < b.file ? -1 : 1)),
    more: () => more,
  }
}
