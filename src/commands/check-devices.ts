/**
 * What `check --live` says about conditions on devices: whether any device could meet them, and whom their rules would refuse.
 *
 * Words only; the counting is `administration/policy-against-life-devices.ts`. Where nothing tells devices apart at all, the files alone
 * have said so already, and nothing is said here. Of what was not read to its end, nothing bad is concluded.
 */

import type { Affected, DeviceComparison, LifeComparison } from '../administration/policy-against-life.ts'
import type { InstanceConfiguration } from '../config/instance.ts'
import { quote } from '../config/problems.ts'
import { nameCount, namePlaces } from './check-words.ts'
import { type ProbeResult, result } from './probe-result.ts'

type Settings = Pick<InstanceConfiguration, 'clientCertificate' | 'provider'>

/** One line about the inventory, and one for each condition. */
export function describeDevices({ conditions, devices, people }: LifeComparison, settings: Settings): readonly ProbeResult[] {
  const { deviceId } = settings.provider.claims
  const hasCertificates = settings.clientCertificate !== undefined
  if (conditions.length === 0 || (!hasCertificates && deviceId === undefined)) return []
  const atLeast = devices.isComplete ? '' : 'at least '
  const results = [
    result('devices', 'good', `${atLeast}${nameCount(devices.total, 'device')} registered, ${atLeast}${devices.reported} ever reported`),
  ]
  if (devices.hasUnreadable) {
    results.push(
      result('devices', 'warning', 'some devices of the inventory do not open', 'the key that they were sealed with is not in keys_file'),
    )
  }
  if (!hasCertificates && deviceId !== undefined && people.read > 0 && people.withDevice === 0) {
    const path = quote(deviceId.join('.'))
    const message = `no sign-in on record named a device in the claim ${path}: every device is unknown`
    results.push(result('devices', people.read < people.total ? 'unknown' : 'warning', message, 'see `provider.claims.device_id`'))
  }
  if (hasCertificates && deviceId === undefined && devices.total > 0 && devices.withCertificate === 0) {
    const message = 'no registered device has a certificate that it could be recognised by'
    const outcome = devices.isComplete ? 'warning' : 'unknown'
    results.push(result('devices', outcome, message, 'register fingerprints or names of certificates with the devices'))
  }
  return [...results, ...conditions.map((comparison) => describeCondition(comparison, { devices, people }))]
}

type Life = Pick<LifeComparison, 'devices' | 'people'>

function describeCondition(comparison: DeviceComparison, life: Life): ProbeResult {
  const { demand } = comparison
  const probe = demand.level === undefined ? 'device condition' : `level ${demand.level}`
  const lack = findLack(comparison, life)
  if (lack === undefined) return result(probe, 'good', `${namePlaces(demand.places)}: ${describeNumbers(comparison, life)}`)
  const affected = comparison.affected.filter(({ effect }) => effect === 'refuses' || lack.isUnknown)
  const consequences =
    affected.length === 0
      ? [`asked for by ${namePlaces(demand.places)}`]
      : affected.slice(0, 3).map((one) => describeAffected(one, life.people))
  const outcome = life.devices.isComplete ? 'warning' : 'unknown'
  return result(probe, outcome, `${lack.message}: ${consequences.join('; ')}`, lack.hint)
}

interface Lack {
  readonly message: string
  readonly hint: string
  /** The condition is unknown for everybody, so that a deny holds as well; else it is false for everybody. */
  readonly isUnknown: boolean
}

const letReport = 'let devices report first, or put the rule into `mode: report` meanwhile'

/** What keeps every device from meeting a condition; `undefined` if nothing is known to. */
function findLack(comparison: DeviceComparison, { devices, people }: Life): Lack | undefined {
  const { attributes, demand, listed, met, tagged, within } = comparison
  const { condition, isReportAsked, withinSeconds } = demand
  // Whoever shows no device meets that.
  if (condition?.known === false) return undefined
  const isClaimed = (name: string) => (people.posture.get(name) ?? 0) > 0
  const window = formatWindow(withinSeconds)
  const needsInventory = condition?.known === true || condition?.tags !== undefined || condition?.serials !== undefined
  if (devices.total === 0 && needsInventory)
    return { message: 'no device is registered', hint: 'register devices: `postern device import`', isUnknown: condition.known !== true }

  const never = attributes.filter(({ ever, name }) => ever === 0 && !isClaimed(name)).map(({ name }) => name)
  const isSilent = devices.reported === 0 && people.posture.size === 0
  if (isSilent && (isReportAsked || (never.length > 0 && never.length === attributes.length)))
    return { message: `no device has ever reported (${nameCount(devices.total, 'device')} registered)`, hint: letReport, isUnknown: true }
  if (never.length > 0) return { message: `no device has ever reported ${never.map(quote).join(', ')}`, hint: letReport, isUnknown: true }

  if (condition?.tags !== undefined && tagged === 0)
    return {
      message: `no registered device has the tag ${condition.tags.map(quote).join(' or ')}`,
      hint: 'see `postern device list`',
      isUnknown: false,
    }
  if (condition?.serials !== undefined && listed === 0)
    return { message: 'no registered device has one of the serial numbers', hint: 'see `postern device list`', isUnknown: false }

  const late = attributes.filter(({ name, within: lately }) => lately === 0 && !isClaimed(name))
  if (late.length > 0) {
    const once = late.map(({ ever, name }) => `${quote(name)} (${ever} once did)`).join(', ')
    return { message: `no device reported ${once} within ${window}`, hint: letReport, isUnknown: true }
  }
  if (isReportAsked && within === 0 && people.posture.size === 0)
    return { message: `no device reported within ${window} (${devices.reported} once did)`, hint: letReport, isUnknown: true }

  const refuses = comparison.affected.some(({ effect }) => effect === 'refuses')
  if (demand.judge === undefined || met > 0 || !refuses || devices.total === 0 || people.posture.size > 0) return undefined
  return { message: `none of ${nameCount(devices.total, 'device')} meets it`, hint: 'see `postern device list`', isUnknown: false }
}

function describeNumbers({ attributes, demand, met, within }: DeviceComparison, { devices }: Life): string {
  const atLeast = devices.isComplete ? '' : 'at least '
  const of = `of ${nameCount(devices.total, 'device')}`
  const asksForReports = demand.isReportAsked || attributes.length > 0
  const window = formatWindow(demand.withinSeconds)
  const least = [...attributes].sort((a, b) => a.within - b.within)[0]
  const reports = [
    ...(asksForReports ? [`${atLeast}${within} ${of} reported within ${window}`] : []),
    ...(least === undefined || least.within >= within ? [] : [`${atLeast}${least.within} stated ${quote(least.name)}`]),
  ]
  const meets = demand.judge === undefined ? [] : [`${atLeast}${met}${asksForReports ? '' : ` ${of}`} meet${met === 1 ? 's' : ''} it now`]
  return [...reports, ...meets].join(', ')
}

function describeAffected({ effect, people, where }: Affected, { read }: LifeComparison['people']): string {
  const verb = effect === 'refuses' ? 'would refuse' : 'would keep out'
  const whom =
    people === 0
      ? 'everybody whom it is for'
      : `all ${people} ${people === 1 ? 'person' : 'people'} seen${people === read ? '' : ' whom it is for'}`
  return `${where} ${verb} ${whom}`
}

function formatWindow(seconds: number): string {
  if (seconds % 3600 === 0) return `${seconds / 3600}h`
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`
}
