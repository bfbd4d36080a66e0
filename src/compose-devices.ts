/**
 * The part of the composition root about devices: the inventory, its memory, reports into it, and the reader that makes facts of it.
 *
 * Everything over one store; a report that is accepted here counts here with the next request, on other instances within five seconds.
 */

import { createDeviceDirectory } from './administration/device-directory.ts'
import type { Devices } from './administration/devices.ts'
import { createDurableRecords } from './administration/durable-records.ts'
import { createPostureReports } from './administration/posture-report.ts'
import { createTokens, type TokenRecord, type Tokens } from './administration/tokens.ts'
import type { CertificateReader } from './attributes/client-certificate.ts'
import type { DeviceReader } from './attributes/device-facts.ts'
import { createDeviceReader } from './attributes/device-record.ts'
import type { AuditEvent, AuditTrail } from './audit/event.ts'
import { tellOfDevice } from './compose-access.ts'
import type { InstanceConfiguration } from './config/instance.ts'
import { parseManagementReport, parseSignedReport } from './config/posture-report-schema.ts'
import type { DeviceReportsPorts } from './control/api/device-reports.ts'
import { PosternError } from './errors.ts'
import type { CurrentKeys } from './keys.ts'
import type { LiveEvent } from './live/live.ts'
import type { Logger } from './log.ts'
import type { SessionStore } from './session/store.ts'

/** What an instance knows of devices, and how it hears of them. */
export interface DeviceParts {
  /** For the enforcement point and the portal. */
  readonly reader: DeviceReader
  /** For the API. */
  readonly reports: DeviceReportsPorts
  /** One memory of what was verified, for reports, API and console. */
  readonly tokens: Tokens
  /** Hears what other instances did: what is remembered of a device may be out of date. */
  hear(event: LiveEvent): void
}

/** What they are made of. */
export interface ComposeDevicesParts {
  readonly configuration: Pick<InstanceConfiguration, 'url' | 'provider'>
  readonly inventory: Devices
  readonly store: SessionStore
  readonly keys: CurrentKeys
  readonly log: Logger
  readonly record: (event: AuditEvent) => void
  /** What changes a token waits for it. */
  readonly audit: Pick<AuditTrail, 'settle'>
  /** `undefined` where no certificate is ever asked for. */
  readonly certificates: CertificateReader | undefined
  readonly now: () => number
  readonly monotonicNow: () => number
}

/** Connects them. Holds nothing that needs closing. */
export function composeDevices({
  configuration,
  record,
  audit,
  certificates,
  inventory,
  now,
  monotonicNow,
  ...durable
}: ComposeDevicesParts): DeviceParts {
  const { store, log } = durable
  const directory = createDeviceDirectory({ devices: inventory, monotonicNow })
  const postureReports = createPostureReports({
    devices: inventory,
    forms: { signed: parseSignedReport, management: parseManagementReport },
    accessUrl: configuration.url,
    now,
    onEvent: record,
    onAccepted(id) {
      directory.forget(id)
      // The report is taken either way; an instance that does not hear of it reads it within five seconds.
      tellOfDevice(store, id).catch((error: unknown) => log.warn({ err: error }, 'other instances could not be told of a device report'))
    },
  })
  const recordFirst = async (event: AuditEvent) => {
    record(event)
    if (!(await audit.settle())) throw new PosternError('audit_unavailable', 'what is done to a token could not be written down')
  }
  const tokens = createTokens({ records: createDurableRecords<TokenRecord>('token', durable), now, monotonicNow, record: recordFirst })
  return {
    reader: createDeviceReader({ certificates, directory, claims: configuration.provider.claims }),
    reports: { reports: postureReports, tokens },
    tokens,
    hear(event) {
      if (event.kind === 'device_changed') directory.forgetHash(event.deviceHash)
      else if (event.kind === 'regained') directory.forgetAll()
    },
  }
}
