/**
 * What a service token may do: permissions of `asker.ts`, one of them perhaps for some devices only. Pure; what is not named is not permitted.
 *
 * Written as the permissions are (`locks:write`, `policy:publish`), and `devices:report:tag=mobile` or `devices:report:id=laptop-7,laptop-8` for
 * reports on some devices. None includes another. A token never approves: where two people are needed, a program is none of them. Text that is
 * not one of these is refused when a token is made; a stored scope that this version does not know permits nothing.
 */

import { type Permission, permissions } from './asker.ts'

/** What a token can be given. */
export type TokenPermission = Exclude<Permission, 'policy:approve'>

/** Every one of them, in the order of `permissions`. */
export const tokenPermissions: readonly TokenPermission[] = permissions.filter((permission) => permission !== 'policy:approve')

/** The permissions of the API that cuts somebody off. */
export const accessPermissions = [
  'locks:read',
  'locks:write',
  'sessions:read',
  'sessions:revoke',
] as const satisfies readonly TokenPermission[]

export type AccessPermission = (typeof accessPermissions)[number]

/** One permission. With neither `tag` nor `devices`, `devices:report` is for every device; the others have neither. */
export interface TokenScope {
  readonly permission: TokenPermission
  /** Only devices that carry this tag. */
  readonly tag?: string
  /** Only these devices. */
  readonly devices?: readonly string[]
}

/** A device, as far as a scope looks at it. */
export interface ScopedDevice {
  readonly id: string
  readonly tags: readonly string[]
}

/** What a tag or an id in a scope may be made of; a comma separates ids. */
const wordForm = /^[^\s,=\p{C}]{1,128}$/u

/** More than this is a tag. */
const mostDevices = 100

/** The scope that `text` describes; `undefined` if it describes none. */
export function parseTokenScope(text: string): TokenScope | undefined {
  const whole = tokenPermissions.find((one) => one === text)
  if (whole !== undefined) return { permission: whole }
  const permission = 'devices:report'
  if (!text.startsWith(`${permission}:`)) return undefined
  const [, kind, value = ''] = /^(tag|id)=(.+)$/su.exec(text.slice(permission.length + 1)) ?? []
  if (kind === 'tag') return wordForm.test(value) ? { permission, tag: value } : undefined
  const devices = value.split(',')
  const isList = kind === 'id' && devices.length <= mostDevices && devices.every((device) => wordForm.test(device))
  return isList ? { permission, devices } : undefined
}

/** The scope as `parseTokenScope` reads it. */
export function formatTokenScope({ permission, tag, devices }: TokenScope): string {
  if (tag !== undefined) return `${permission}:tag=${tag}`
  return devices === undefined ? permission : `${permission}:id=${devices.join(',')}`
}

/** Whether one of the scopes lets its bearer report on this device. */
export function permitsReport(scopes: readonly TokenScope[], device: ScopedDevice): boolean {
  return scopes.some(
    ({ permission, tag, devices }) =>
      permission === 'devices:report' &&
      (tag === undefined || device.tags.includes(tag)) &&
      (devices === undefined || devices.includes(device.id)),
  )
}

/** Whether one of the scopes is this permission, and nothing narrower. */
export function permitsAccess(scopes: readonly TokenScope[], wanted: Permission): boolean {
  return scopes.some(({ permission, tag, devices }) => permission === wanted && tag === undefined && devices === undefined)
}

/** The permissions that its bearer holds as an asker: whole ones that this version knows. */
export function permissionsOf(scopes: readonly TokenScope[]): ReadonlySet<Permission> {
  return new Set(tokenPermissions.filter((permission) => permitsAccess(scopes, permission)))
}
