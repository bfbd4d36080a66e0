/**
 * How every instance is: what keeps it from serving, and what somebody should look after, each as it says of itself.
 *
 * Asked in the background while somebody looks, and remembered for a moment: a page never waits for an instance that does not answer but the
 * first time, and then a quarter of a second at most.
 */

import { setTimeout as pause } from 'node:timers/promises'
import type { Errands, LiveInstance } from './errands.ts'

export interface HealthCheck {
  readonly name: string
  readonly isReady: boolean
  /** For the operator; holds no secret. */
  readonly detail: string | undefined
}

/** What an instance says of itself. */
export interface OwnHealth {
  readonly checks: readonly HealthCheck[]
  /** By what it is about, as `warnings` of `/readyz`. */
  readonly warnings: Readonly<Record<string, string>>
}

export interface InstanceHealth extends LiveInstance {
  /** `undefined`: it has not answered. */
  readonly health: OwnHealth | undefined
}

export interface InstancesHealth {
  /** As last heard, and this instance as it is now. Empty before the first answer, and while the store is away. */
  load(): Promise<readonly InstanceHealth[]>
}

export interface InstancesHealthParts {
  readonly errands: Pick<Errands, 'serve' | 'ask' | 'instances'>
  readonly own: () => Promise<OwnHealth>
  readonly monotonicNow: () => number
}

const patienceMs = 800
const firstWaitMs = 250
const heardForMs = 5_000

/** Serves this instance's own, and asks all of them. */
export function createInstancesHealth({ errands, monotonicNow, own }: InstancesHealthParts): InstancesHealth {
  errands.serve('health', own)
  let heard: readonly InstanceHealth[] = []
  let heardAt = Number.NEGATIVE_INFINITY
  let asking: Promise<void> | undefined

  async function ask(): Promise<void> {
    const [instances, { parts }] = await Promise.all([errands.instances(), errands.ask<OwnHealth>('health', {}, 'console', patienceMs)])
    const said = new Map(parts.map((part) => [part.instance, part.state === 'done' ? part.part : undefined]))
    heard = instances.map((instance) => ({ ...instance, health: said.get(instance.name) }))
    heardAt = monotonicNow()
  }

  return {
    async load() {
      if (monotonicNow() - heardAt > heardForMs) {
        // A store that is away shows in this instance's own checks, which ask nobody.
        asking ??= ask()
          .catch(() => undefined)
          .finally(() => {
            asking = undefined
          })
        if (heard.length === 0) await Promise.race([asking, pause(firstWaitMs, undefined, { ref: false })])
      }
      if (heard.length === 0) return heard
      const health = await own()
      return heard.map((one) => (one.isOwn ? { ...one, health } : one))
    },
  }
}
