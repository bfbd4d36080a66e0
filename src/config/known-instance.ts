/**
 * What a policy is judged beside, of an instance configuration: addresses that are taken, names that are defined, facts that can be known.
 *
 * Plain data without a secret in it, so that a policy can be loaded where nothing else of the instance is known, such as on another
 * thread. Whatever is not known here is not judged.
 */

import type { Strength } from '../policy/document.ts'
import { type FactSources, findSources } from './fact-checks.ts'
import type { AuditConfiguration, HostPort, InstanceConfiguration } from './instance.ts'
import { storeAddresses } from './store-address.ts'

export interface KnownInstance {
  /** The access host's URL. */
  readonly url?: string | undefined
  readonly listen?: HostPort | undefined
  readonly httpRedirect?: HostPort | undefined
  readonly operations?: HostPort | undefined
  /** Every named host of a store that is reached over the network. */
  readonly stores?: readonly HostPort[] | undefined
  readonly idleTimeoutSeconds?: number | undefined
  readonly lifetimeSeconds?: number | undefined
  readonly strengths?: ReadonlyMap<string, Strength> | undefined
  /** Ids of `secrets`; what they hold is nobody's business here. */
  readonly secretNames?: ReadonlySet<string> | undefined
  readonly sources?: FactSources | undefined
  /** Levels that the console asks for: a policy without one would lock everybody out of it. */
  readonly consoleLevels?: readonly string[] | undefined
  /** Where a managed policy may lead; `undefined` where the policy is files. */
  readonly managed?: { readonly allow: readonly string[] | undefined } | undefined
  readonly audit?: Pick<AuditConfiguration, 'durability' | 'whenFull' | 'redact'> | undefined
}

/** What is known of an instance, of which some parts may be missing. */
export function describeInstance(instance: Partial<InstanceConfiguration>): KnownInstance {
  const { audit, session } = instance
  return {
    url: instance.url?.href,
    listen: instance.listen,
    httpRedirect: instance.httpRedirect,
    operations: instance.operations,
    stores: session?.store.kind === 'redis' ? storeAddresses(session.store.url) : [],
    idleTimeoutSeconds: session?.idleTimeoutSeconds,
    lifetimeSeconds: session?.lifetimeSeconds,
    strengths: instance.provider?.strengths,
    secretNames: instance.secrets === undefined ? undefined : new Set(instance.secrets.keys()),
    sources: findSources(instance),
    consoleLevels: instance.console?.requiredLevels,
    managed: instance.policyMode === 'managed' ? { allow: instance.upstreamsAllow } : undefined,
    audit: audit === undefined ? undefined : { durability: audit.durability, whenFull: audit.whenFull, redact: audit.redact },
  }
}
