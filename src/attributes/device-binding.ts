/**
 * What ties a session to the device that it began on: the certificate of the sign-in, and whether a later request comes from elsewhere.
 *
 * For the access host, where everybody is asked. A connection that cannot show a certificate there (no host name in its handshake, or
 * another) is not the browser that signed in with one: otherwise leaving the name out would be enough to use a stolen cookie.
 */

import type { IncomingMessage } from 'node:http'
import type { BoundDevice, Session } from '../session/session.ts'
import type { CertificateReader } from './client-certificate.ts'
import type { DeviceReader } from './device-facts.ts'

export interface DeviceBinding {
  /** What a session that begins with this request is bound to; `undefined` without a certificate that is believed. */
  deviceOf(request: IncomingMessage): Promise<BoundDevice | undefined>
  /** Whether the session is bound and this request does not come from its device. Rejects with `session_store_unavailable`. */
  isElsewhere(request: IncomingMessage, session: Session): Promise<boolean>
}

/** For an instance that never sees a certificate: nothing is bound, and what once was has lost its device. */
export const noBinding: DeviceBinding = {
  deviceOf: async () => undefined,
  isElsewhere: async (_request, { device }) => device !== undefined,
}

/** Binds by certificates; which of them belong to one device is for `devices` to say. */
export function createDeviceBinding(certificates: CertificateReader, devices: DeviceReader): DeviceBinding {
  return {
    async deviceOf(request) {
      const reading = certificates.recall(request) ?? (await certificates.read(request))
      if (reading.state !== 'verified') return undefined
      const { fingerprint, names } = reading.certificate
      return { certificate: fingerprint, names }
    },
    async isElsewhere(request, session) {
      if (session.device === undefined) return false
      if (!certificates.isVisible(request)) return true
      const { isChanged } = devices.recall(request, session) ?? (await devices.read(request, session))
      return isChanged
    },
  }
}
