/**
 * What `postern check --live` tries: provider, client credentials, clock, names, certificates, upstreams, store.
 *
 * A probe changes nothing: the client's secret is tried with a code that cannot exist, upstreams get a connection and no request.
 * Every probe ends by itself within seconds and answers with a result, never an exception. No result holds a secret or a token.
 */

import type { InstanceConfiguration } from '../config/instance.ts'
import type { App, Upstream } from '../policy/document.ts'
import { judgeCertificateFile, tryPublicName, tryUpstream } from './address-probes.ts'
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
  upstream(app: App, upstream: Upstream): Promise<readonly ProbeResult[]>
}

export interface LiveProbeParts {
  /** Asks the store about itself; rejects if it does not answer. */
  readonly storeReport: (configuration: InstanceConfiguration) => Promise<StoreFacts | undefined>
  /** Epoch milliseconds. */
  readonly now: () => number
}

/** Creates the probes. The discovery document is fetched once for all that need it. */
export function createLiveProbes({ storeReport, now }: LiveProbeParts): LiveProbes {
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

    async upstream(app, upstream) {
      return [await tryUpstream(app, upstream)]
    },
  }
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
