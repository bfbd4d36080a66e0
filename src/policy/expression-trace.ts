/** The facts that an expression read, for an explanation: with what each of them was, where it came from and how old it is. */

import { findClaim } from './claim-path.ts'
import type { TraceInput } from './condition.ts'
import { readAttribute } from './device-posture.ts'
import { reportedWithinSeconds, viewFacts } from './expression-facts.ts'
import type { FactPath, VariableName } from './expression-path.ts'
import type { Facts } from './facts.ts'

type TracedFact = Pick<TraceInput, 'fact' | 'value' | 'source' | 'at'>

const sources: Readonly<Record<VariableName, string>> = {
  subject: 'provider',
  sign_in: 'ID Token',
  device: 'inventory',
  environment: 'listener',
  request: 'request',
}

/** Fields of `device` that are attributes: the others are the inventory's own. */
const posture = new Set(['managed', 'disk_encrypted', 'screen_lock', 'firewall', 'os', 'os_version'])

/** One fact of an expression, as the expression saw it. */
export function traceFact(facts: Facts, path: FactPath): TracedFact {
  const { variable, field, rest } = path
  const fact = [variable, field, ...rest].join('.')
  const attribute = field === 'attributes' ? rest[0] : posture.has(field) ? field : undefined
  if (variable === 'device' && attribute !== undefined) return { fact, ...traceAttribute(facts, attribute) }
  const { subject } = facts
  return {
    fact,
    value: known(field === 'claims' ? findClaimOf(facts, rest) : readField(facts, path)),
    source: variable === 'subject' && subject.kind === 'service' ? 'access token' : sources[variable],
    at: variable === 'subject' && subject.kind === 'person' ? subject.claimsAt : undefined,
  }
}

function traceAttribute(facts: Facts, name: string): Omit<TracedFact, 'fact'> {
  const read = readAttribute(facts, name, reportedWithinSeconds)
  const attribute =
    facts.device.known && Object.hasOwn(facts.device.value.attributes, name) ? facts.device.value.attributes[name] : undefined
  return {
    value: typeof read === 'string' ? { known: false, why: read } : { known: true, value: read.value },
    source: attribute?.source ?? 'none',
    at: attribute?.source === 'inventory' ? undefined : attribute?.at,
  }
}

/** As the provider sent it, not as the engine takes it; of the claims as a whole only their names. */
function findClaimOf({ subject }: Facts, path: readonly string[]): unknown {
  if (subject.kind === 'nobody' || (subject.kind === 'person' && !subject.claims.known)) return undefined
  const claims = subject.kind === 'service' ? subject.claims : subject.claims.known ? subject.claims.value : {}
  return path.length === 0 ? Object.keys(claims) : findClaim(claims, path)
}

function readField(facts: Facts, { variable, field }: FactPath): unknown {
  const value: unknown = Reflect.get(viewFacts(facts)[variable], field)
  return typeof value === 'bigint' ? Number(value) : value
}

function known(value: unknown): TracedFact['value'] {
  return value === undefined ? { known: false, why: 'unknown' } : { known: true, value }
}
