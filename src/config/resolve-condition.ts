/**
 * From a condition as written and checked to the document's: names become what they stand for, and nothing can fail any more.
 *
 * A strength is looked up in the instance configuration; where that is not known (a policy that is only read or compared), it has the name
 * alone, and no sign-in meets it. Networks of a file are put in its place.
 */

import type { Condition, Strength } from '../policy/document.ts'
import type { WrittenCondition } from './condition-schema.ts'

/** What names in conditions stand for. */
export interface Resolution {
  /** The document's, for hours and dates that name none. */
  readonly zone: string
  readonly findStrength: (name: string) => Strength | undefined
  /** Networks of a `cidrs_file` as written, with its absolute path. */
  readonly findNetworks: (cidrsFile: string) => { readonly file: string; readonly cidrs: readonly string[] } | undefined
}

/** The condition as the policy engine takes it. Throws `TypeError` where a file was not read before. */
export function resolveCondition(written: WrittenCondition, resolution: Resolution): Condition {
  switch (written.kind) {
    case 'all_of':
    case 'any_of':
      return { kind: written.kind, of: written.of.map((part) => resolveCondition(part, resolution)) }
    case 'not':
      return { kind: 'not', of: resolveCondition(written.of, resolution) }
    case 'sign_in': {
      const { strength: name } = written
      const strength = name === undefined ? undefined : (resolution.findStrength(name) ?? { name, acr: [], amr: [], ask: {} })
      return { ...written, strength }
    }
    case 'network': {
      if (written.cidrsFile === undefined) return written
      const found = resolution.findNetworks(written.cidrsFile)
      if (found === undefined) throw new TypeError('a file of networks was not read')
      return { ...written, cidrs: found.cidrs, cidrsFile: found.file }
    }
    case 'time':
      return { ...written, zone: written.zone ?? resolution.zone }
    default:
      return written
  }
}

/**
 * What of a condition counts for the version of a document: what was written, not what surrounds it. The place of a file differs
 * between machines and a strength belongs to the instance; the networks and the name are the document's own.
 */
export function versionedCondition(condition: Condition): unknown {
  switch (condition.kind) {
    case 'all_of':
    case 'any_of':
      return { kind: condition.kind, of: condition.of.map(versionedCondition) }
    case 'not':
      return { kind: 'not', of: versionedCondition(condition.of) }
    case 'sign_in':
      return { ...condition, strength: condition.strength?.name }
    case 'network':
      return { ...condition, cidrsFile: undefined }
    default:
      return condition
  }
}
