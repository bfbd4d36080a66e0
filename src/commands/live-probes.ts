/**
 * What `postern check --live` tries: provider, client credentials, clock, names, certificates, upstreams, store; and how the policy stands
 * to the people, devices and files that there really are.
 *
 * A probe changes nothing: the client's secret is tried with a code that cannot exist, upstreams get a connection and no request.
 * Every probe ends by itself within seconds and answers with a result, never an exception. No result holds a secret or a token.
 */

import { compareWithLife, type LifeSources } from '../administration/policy-against-life.ts'
import { compileSubjectReader } from '../attributes/subject-facts.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { isPosternError } from '../errors.ts'
import type { Logger } from '../log.ts'
import type { App, PolicyDocument, Upstream } from '../policy/document.ts'
import { judgeCertificateFile, tryPublicName, tryUpstream, type UpstreamLookup } from './address-probes.ts'
import { describeDevices } from './check-devices.ts'
import { checkDeviceCertificates, checkPlaces } from './check-files.ts'
import { describePeople } from './check-people.ts'
import { codeOf, type ProbeResult, printable, probeMs, result } from './probe-result.ts'
import { checkMetadata, type Discovered, judgeRefreshToken, loadMetadata, tryClient } from './provider-probes.ts'

/** What a store can tell about its settings; what it does not tell is `undefined`. */
export interface StoreFacts {
  readonly evictionPolicy: string | undefined
  readonly persistence: 'append_only' | 'snapshots' | 'none' | undefined
}

export interface LiveProbes {
  discovery(configuration: InstanceConfiguration): Promise<readonly ProbeResult[]>
  clock(configuration: InstanceConfiguration): Promise<readonly ProbeResult[]>
  clientSecret(configuration: InstanceConfiguration): Promise<readonly ProbeResult[]>
  refreshToken(configuration: InstanceConfiguration): Promise<readonly ProbeResult[]>
  store(configuration: InstanceConfiguration): Promise<readonly ProbeResult[]>
  /** Certificate files: dates and names. */
  certificates(configuration: InstanceConfiguration): Promise<readonly ProbeResult[]>
  /** A public address: resolves, answers, and with a certificate that browsers accept. */
  publicName(configuration: InstanceConfiguration, origin: URL): Promise<readonly ProbeResult[]>
  upstream(configuration: InstanceConfiguration, app: App, upstream: Upstream): Promise<readonly ProbeResult[]>
  /** Databases of places: whether they can be read, are of the right kind, and are young enough. */
  places(configuration: InstanceConfiguration): Promise<readonly ProbeResult[]>
  /** Authorities and revocation lists of device certificates, and on which hosts one is asked for. */
  deviceCertificates(configuration: InstanceConfiguration, policy: PolicyDocument): Promise<readonly ProbeResult[]>
  /** Rules that nobody and nothing seen here could meet: devices that never reported, groups that no sign-in carried. */
  life(configuration: InstanceConfiguration, policy: PolicyDocument): Promise<readonly ProbeResult[]>
}

/** People and devices of the store, until `close`. */
export interface OpenedLife extends LifeSources {
  close(): Promise<void>
}

export interface LiveProbeParts {
  /** Asks the store about itself; rejects if it does not answer. */
  readonly storeReport: (configuration: InstanceConfiguration) => Promise<StoreFacts | undefined>
  /** Opens the store without making one: `undefined` where none was ever made. Rejects with `PosternError` if it does not open. */
  readonly openLife: (configuration: InstanceConfiguration) => Promise<OpenedLife | undefined>
  /** How the forwarder would look upstreams up, and which it would connect to. */
  readonly lookupOf: (configuration: InstanceConfiguration) => UpstreamLookup
  readonly log: Logger
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Creates the probes. The discovery document is fetched once for all that need it. */
export function createLiveProbes({ lookupOf, storeReport, openLife, log, now }: LiveProbeParts): LiveProbes {
  const discoveries = new WeakMap<InstanceConfiguration, Promise<Discovered>>()
  const discover = (configuration: InstanceConfiguration) => {
    const known = discoveries.get(configuration) ?? loadMetadata(configuration, now)
    discoveries.set(configuration, known)
    return known
  }

  return {
    async discovery(configuration) {
      const found = await discover(configuration)
      if ('failure' in found) return [result('discovery', 'problem', found.failure, found.hint)]
      return [...checkMetadata(configuration, found.metadata)]
    },

    async clock(configuration) {
      const found = await discover(configuration)
      if ('failure' in found) return []
      const theirs = found.dateHeader === null ? Number.NaN : Date.parse(found.dateHeader)
      if (Number.isNaN(theirs)) return [result('clock', 'unknown', 'the provider sends no Date header to compare with')]
      // The header has whole seconds and was made some time during the exchange.
      const apart = Math.max(0, Math.abs(theirs + 500 - found.at) - 1500)
      const seconds = Math.round(apart / 1000)
      if (apart < 5000) return [result('clock', 'good', 'agrees with the provider')]
      const outcome = apart < 30_000 ? 'warning' : 'problem'
      return [
        result(
          'clock',
          outcome,
          `differs from the provider by ${seconds} s; tokens will look expired or not yet valid`,
          'synchronise both clocks (NTP)',
        ),
      ]
    },

    async clientSecret(configuration) {
      const found = await discover(configuration)
      return 'failure' in found ? [] : [await tryClient(configuration, found.metadata)]
    },

    async refreshToken(configuration) {
      const found = await discover(configuration)
      return 'failure' in found ? [] : [judgeRefreshToken(configuration, found.metadata)]
    },

    async store(configuration) {
      if (configuration.session.store.kind === 'embedded') return [result('store', 'good', 'embedded: one process, kept in data_dir')]
      try {
        return judgeStore(await bounded(storeReport(configuration)))
      } catch (error) {
        return [
          result(
            'store',
            'problem',
            `the session store does not answer (${codeOf(error)})`,
            'check session.store, the network and the password',
          ),
        ]
      }
    },

    async certificates(configuration) {
      const results = await Promise.all(configuration.tls.map(({ certFile }) => judgeCertificateFile(certFile, now())))
      return results.flat()
    },

    async publicName(configuration, origin) {
      return [await tryPublicName(configuration, origin, now())]
    },

    async upstream(configuration, app, upstream) {
      return [await tryUpstream(app, upstream, lookupOf(configuration))]
    },

    places: (configuration) => checkPlaces(configuration, now()),

    async deviceCertificates(configuration, policy) {
      return checkDeviceCertificates(configuration, policy, { at: now(), log })
    },

    async life(configuration, policy) {
      let life: OpenedLife | undefined
      try {
        life = await openLife(configuration)
        if (life === undefined)
          return [
            result('people', 'unknown', 'there is no store or no key file here yet: people and devices were not compared with the policy'),
          ]
        return await compareWithSeen(configuration, policy, life, { now, limitMs: probeMs })
      } catch (error) {
        if (!isPosternError(error)) throw error
        return [result('people', 'unknown', `people and devices seen were not compared with the policy (${error.code})`)]
      } finally {
        await life?.close()
      }
    },
  }
}

/** Of devices, and of people: more than most companies have, and read in seconds. */
const mostSeen = 50_000

/** How the policy stands to the people and devices of the store; the console says the same of a draft. `limitMs`: for each of both. */
export async function compareWithSeen(
  { clientCertificate, console: roles, provider }: Pick<InstanceConfiguration, 'clientCertificate' | 'console' | 'provider'>,
  policy: PolicyDocument,
  sources: LifeSources,
  { limitMs, now }: { readonly now: () => number; readonly limitMs: number },
): Promise<readonly ProbeResult[]> {
  const others = (['admin', 'auditor', 'helpdesk'] as const).flatMap((role) => {
    const who = roles[role]
    return who === undefined ? [] : [{ where: `the role \`${role}\` of the console`, who }]
  })
  const { deviceId, posture } = provider.claims
  const readSubject = compileSubjectReader(provider)
  const life = await compareWithLife(policy, sources, { readSubject, deviceId, posture, others, now, limitMs, most: mostSeen })
  return [...describePeople(life, provider, policy.services.length > 0), ...describeDevices(life, { clientCertificate, provider })]
}

async function bounded<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(Object.assign(new Error('took too long'), { code: 'TIMEOUT' })), probeMs)
  })
  try {
    return await Promise.race([work, limit])
  } finally {
    clearTimeout(timer)
  }
}

function judgeStore(facts: StoreFacts | undefined): readonly ProbeResult[] {
  const results = [result('store', 'good', 'the session store answers')]
  if (facts === undefined) return results
  const { evictionPolicy, persistence } = facts
  if (evictionPolicy === undefined)
    results.push(result('store eviction', 'unknown', 'the store does not tell whether it evicts', 'it must be noeviction'))
  else if (evictionPolicy !== 'noeviction') {
    results.push(
      result(
        'store eviction',
        'warning',
        `maxmemory-policy is ${printable(evictionPolicy)}: ends and sessions may vanish`,
        'set maxmemory-policy noeviction',
      ),
    )
  }
  if (persistence === undefined) results.push(result('store persistence', 'unknown', 'the store does not tell whether it persists'))
  else if (persistence === 'none')
    results.push(result('store persistence', 'warning', 'the store keeps nothing over a restart', 'set appendonly yes'))
  else if (persistence === 'snapshots') {
    results.push(
      result('store persistence', 'warning', 'snapshots only: a crash forgets the ends since the last one', 'set appendonly yes'),
    )
  }
  return results
}
