/**
 * Numbers of what Postern depends on: how long the session store and the provider took, by kind of question, and how often they did not
 * answer; and how old the news of ends and locks is.
 */

import type { Distribution, MetricsRegistry } from './registry.ts'

/** What is asked of the provider; `issuer_keys`: of the issuer of an access token. */
export type ProviderOperation = 'discovery' | 'keys' | 'token' | 'userinfo' | 'issuer_keys' | 'other'

export interface DependencySources {
  /** Since ends and locks were last known to be complete. */
  readonly newsAgeMs: () => number
  readonly isProviderReady: () => boolean
}

export interface DependencyMetrics {
  /** `operation` is the name of a method of the store's port. */
  observeStore(operation: string, seconds: number, isAnswered: boolean): void
  observeProvider(operation: ProviderOperation, seconds: number, isAnswered: boolean): void
  /** An operation that the store refused or did not answer. */
  countStoreError(operation?: string): void
}

/** From a file on this machine to the limit of one command. */
const storeBounds = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]
/** From a provider next door to the longest that anybody waits for one. */
const providerBounds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const providerOperations: readonly ProviderOperation[] = ['discovery', 'keys', 'token', 'userinfo', 'issuer_keys', 'other']

/** Puts them into `registry`. */
export function addDependencies(registry: MetricsRegistry, { isProviderReady, newsAgeMs }: DependencySources): DependencyMetrics {
  const storeTimes = registry.histogram(
    {
      name: 'postern_store_operation_duration_seconds',
      help: 'Time that an operation of the session store took, answered or not, by operation.',
      labels: ['operation'],
    },
    storeBounds,
  )
  const storeErrors = registry.counter({
    name: 'postern_store_errors_total',
    help: 'Operations that the session store refused or did not answer, by operation.',
    labels: ['operation'],
  })
  const providerTimes = registry.histogram(
    {
      name: 'postern_provider_request_duration_seconds',
      help: 'Time that a request to the provider took, answered or not, by what was asked.',
      labels: ['operation'],
    },
    providerBounds,
  )
  const providerErrors = registry.counter({
    name: 'postern_provider_errors_total',
    help: 'Requests that the provider did not answer, or answered with a status of 500 or above, by what was asked.',
    labels: ['operation'],
  })
  registry.source(
    {
      name: 'postern_news_age_seconds',
      help: 'Time since ends and locks were last known to be complete; beyond five the store itself is asked.',
    },
    () => newsAgeMs() / 1000,
  )
  registry.source({ name: 'postern_provider_ready', help: '1 once the provider was discovered.' }, () => Number(isProviderReady()))
  for (const operation of providerOperations) providerErrors.add({ operation }, 0)

  const ofStore = new Map<string, Distribution>()
  const countStoreError = (operation = 'other') => storeErrors.add({ operation })
  return {
    observeStore(operation, seconds, isAnswered) {
      let times = ofStore.get(operation)
      if (times === undefined) {
        times = storeTimes.of({ operation })
        ofStore.set(operation, times)
        storeErrors.add({ operation }, 0)
      }
      times.observe(seconds)
      if (!isAnswered) countStoreError(operation)
    },
    observeProvider(operation, seconds, isAnswered) {
      providerTimes.of({ operation }).observe(seconds)
      if (!isAnswered) providerErrors.add({ operation })
    },
    countStoreError,
  }
}
