/**
 * Locks indexed by what they are on, so that a request costs four look-ups however many there are, and none where there are none.
 *
 * A person is found by issuer and `sub`, a service by any name that the policy gives it, a device by its id in the inventory, an app by
 * its id. Whether a lock is over is judged at each question, by the store's clock: no timer has to run for one to end.
 */

import type { LockFacts } from '../policy/facts.ts'
import type { Lock, LockQuestion, LockSet } from './lock.ts'

/** Indexes `locks`; of several on one thing the one that lasts longest counts. */
export function createLockSet(locks: readonly Lock[]): LockSet {
  const people = new Map<string, Map<string, Lock>>()
  const services = new Map<string, Lock>()
  const devices = new Map<string, Lock>()
  const apps = new Map<string, Lock>()
  for (const lock of locks) {
    const { target } = lock
    switch (target.kind) {
      case 'subject': {
        const ofIssuer = people.get(target.issuer) ?? new Map<string, Lock>()
        people.set(target.issuer, ofIssuer)
        keepLonger(ofIssuer, target.sub, lock)
        break
      }
      case 'service':
        keepLonger(services, target.name, lock)
        break
      case 'device':
        keepLonger(devices, target.id, lock)
        break
      case 'app':
        keepLonger(apps, target.id, lock)
        break
    }
  }

  function* concerning({ subject, deviceId, appId }: LockQuestion): Generator<Lock | undefined> {
    if (subject.kind === 'person') yield people.get(subject.issuer)?.get(subject.sub)
    if (subject.kind === 'service') for (const name of subject.names) yield services.get(name)
    if (deviceId !== undefined) yield devices.get(deviceId)
    yield apps.get(appId)
  }

  return {
    all: locks,
    find(question, at) {
      if (locks.length === 0) return undefined
      let longest: Lock | undefined
      for (const lock of concerning(question)) {
        if (lock === undefined || (lock.until !== undefined && lock.until <= at)) continue
        if (longest === undefined || endOf(lock) > endOf(longest)) longest = lock
      }
      return longest === undefined ? undefined : factsOf(longest)
    },
  }
}

function keepLonger(index: Map<string, Lock>, name: string, lock: Lock): void {
  const known = index.get(name)
  if (known === undefined || endOf(lock) > endOf(known)) index.set(name, lock)
}

function endOf({ until }: Lock): number {
  return until ?? Number.POSITIVE_INFINITY
}

function factsOf({ target, until }: Lock): LockFacts {
  return { on: target.kind, until }
}
