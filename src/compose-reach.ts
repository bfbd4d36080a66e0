/**
 * The part of the composition root that says where connections on behalf of the policy may go: one answer for the forwarder, the console's look
 * whether an upstream answers, `postern check --live`, and the keys of issuers.
 *
 * What is ours is never reached, whoever wrote the policy. A managed policy besides leads only to where the instance configuration lets it
 * (`config/upstream-reach.ts`); with files, whoever writes them decides.
 */

import { storeAddresses } from './compose-store.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { createIssuerReach, createUpstreamReach, isReachAllowed } from './config/upstream-reach.ts'
import { portOf, unbracket } from './config/web-address.ts'
import {
  createConnectionJudge,
  createNameLookup,
  type ForbiddenAddress,
  type MayConnect,
  type NameLookup,
} from './enforcement/name-lookup.ts'

/** What of the configuration says it. */
export type ReachConfiguration = Pick<
  InstanceConfiguration,
  'httpRedirect' | 'listen' | 'operations' | 'policyMode' | 'session' | 'upstreamsAllow' | 'url'
>

/** How names become addresses for connections to upstreams, and which may be made. */
export interface UpstreamLookup extends NameLookup {
  /** By name alone, as a document is judged. */
  isReachAllowed(host: string, port: number): boolean
}

/** Where no upstream is: what is inside here, and our own doors, behind which requests would go round in circles. */
export function findForbidden(configuration: ReachConfiguration): readonly ForbiddenAddress[] {
  const { httpRedirect, listen, url } = configuration
  const doors = [listen, ...(httpRedirect === undefined ? [] : [httpRedirect]), { host: unbracket(url.hostname), port: portOf(url) }]
  return [...findInner(configuration), ...doors]
}

function findInner({ operations, session }: ReachConfiguration): readonly ForbiddenAddress[] {
  return [operations, ...storeAddresses({ session })]
}

/** Where a policy may lead besides; `undefined` where whoever writes the files decides. */
export function findReach({ policyMode, upstreamsAllow }: ReachConfiguration): MayConnect | undefined {
  return policyMode === 'managed' ? createUpstreamReach(upstreamsAllow).mayConnect : undefined
}

/** For everything that connects to upstreams besides the forwarder. */
export function createUpstreamLookup(configuration: ReachConfiguration): UpstreamLookup {
  const { policyMode, upstreamsAllow } = configuration
  return {
    ...createNameLookup(findForbidden(configuration), findReach(configuration)),
    isReachAllowed: (host, port) => policyMode === 'files' || isReachAllowed(upstreamsAllow, { host, port }),
  }
}

/** Where the keys of services may be fetched: from issuers on the internet as well, and never from what is inside here. */
export function findIssuerReach(configuration: ReachConfiguration): MayConnect {
  const reach = configuration.policyMode === 'managed' ? createIssuerReach(configuration.upstreamsAllow).mayConnect : undefined
  return createConnectionJudge(findInner(configuration), reach)
}
