/**
 * Hands what Intune knows of each device on to Postern. Run it on a schedule, anywhere that reaches both; Node 18 or later, no packages.
 *
 *   node push-posture.mjs         report on every device
 *   node push-posture.mjs --csv   print the devices as a list for `postern device import`
 *
 * Settings come from the environment: TENANT_ID, CLIENT_ID and CLIENT_SECRET of an app registration with the application permission
 * DeviceManagementManagedDevices.Read.All; POSTERN_URL and POSTERN_TOKEN (`postern token create --scope devices:report`).
 * A device is called by its Entra device id. What was observed is dated by its last check-in, so a device that went silent grows old
 * in Postern as it does in Intune. Exit status: 0 all accepted, 1 some were refused, 2 could not run.
 */

const { TENANT_ID, CLIENT_ID, CLIENT_SECRET, POSTERN_URL, POSTERN_TOKEN } = process.env
const login = process.env.LOGIN_URL ?? 'https://login.microsoftonline.com'
const graph = process.env.GRAPH_URL ?? 'https://graph.microsoft.com'
const isList = process.argv.includes('--csv')
/** Reports at the same time. */
const atOnce = 8

const fields = ['azureADDeviceId', 'serialNumber', 'deviceName', 'userPrincipalName', 'operatingSystem', 'osVersion', 'isEncrypted', 'complianceState']
const select = [...fields, 'managementAgent', 'lastSyncDateTime'].join(',')

try {
  const devices = await loadDevices(await signIn())
  if (isList) printList(devices)
  else process.exitCode = (await pushAll(devices)) === 0 ? 0 : 1
} catch (error) {
  console.error(`push-posture: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 2
}

async function signIn() {
  const form = { grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: CLIENT_SECRET, scope: `${graph}/.default` }
  if (Object.values({ ...form, TENANT_ID }).includes(undefined)) throw new Error('set TENANT_ID, CLIENT_ID and CLIENT_SECRET')
  const response = await patiently(`${login}/${TENANT_ID}/oauth2/v2.0/token`, { method: 'POST', body: new URLSearchParams(form) })
  if (!response.ok) throw new Error(`no access token (${response.status})`)
  return (await response.json()).access_token
}

/** All managed devices that have an Entra device id, page by page. */
async function loadDevices(token) {
  const devices = []
  for (let page = `${graph}/v1.0/deviceManagement/managedDevices?$select=${select}`; page !== undefined; ) {
    // The next page's address comes from the answer; the token goes nowhere else.
    if (new URL(page).origin !== new URL(graph).origin) throw new Error('a page of the list is somewhere else')
    const response = await patiently(page, { headers: { authorization: `Bearer ${token}` } })
    if (!response.ok) throw new Error(`the list of devices was refused (${response.status})`)
    const { value, '@odata.nextLink': next } = await response.json()
    devices.push(...value.filter(({ azureADDeviceId: id }) => /^[0-9a-f-]{36}$/i.test(id ?? '') && !/^[0-]+$/.test(id)))
    page = next
  }
  return devices
}

function postureOf({ isEncrypted, operatingSystem = '', osVersion, complianceState, managementAgent }) {
  const os = { windows: 'windows', macos: 'macos', ios: 'ios', ipados: 'ios', android: 'android', linux: 'linux', chromeos: 'chromeos' }
  const name = Object.keys(os).find((known) => operatingSystem.toLowerCase().startsWith(known))
  return {
    managed: !['unknown', 'msSense', undefined].includes(managementAgent),
    // iOS and Android encrypt wherever there is a passcode, and Intune says so in the same field.
    ...(typeof isEncrypted === 'boolean' ? { disk_encrypted: isEncrypted } : {}),
    ...(name === undefined ? {} : { os: os[name] }),
    ...(osVersion ? { os_version: osVersion.slice(0, 64) } : {}),
    // What your compliance policies demand (lock, firewall, antivirus) is in this one word: `attributes: { compliance: compliant }`.
    attributes: { compliance: complianceState ?? 'unknown' },
  }
}

async function pushAll(devices) {
  if (!POSTERN_URL || !POSTERN_TOKEN) throw new Error('set POSTERN_URL and POSTERN_TOKEN')
  let refused = 0
  const queue = [...devices]
  const work = async () => {
    for (let device = queue.shift(); device !== undefined; device = queue.shift()) if (!(await push(device))) refused += 1
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  console.log(`push-posture: ${devices.length} devices, ${refused} refused`)
  return refused
}

async function push(device) {
  const id = device.azureADDeviceId.toLowerCase()
  const response = await patiently(new URL(`/api/v1/devices/${id}/reports`, POSTERN_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${POSTERN_TOKEN}`, 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ observed_at: device.lastSyncDateTime, posture: postureOf(device) }),
  })
  const answer = await response.json().catch(() => ({}))
  // 409: Postern has heard something newer, perhaps from the device itself.
  if (response.ok || response.status === 409) return true
  if (response.status === 401) throw new Error(`Postern refused the token: ${answer.message ?? ''}`)
  console.error(`push-posture: ${id} (${device.deviceName}): ${answer.error ?? response.status}`)
  return false
}

/** Waits as long as it is told to (429, 503), a few times. */
async function patiently(url, options) {
  for (let attempt = 1; ; attempt += 1) {
    const response = await fetch(url, { ...options, redirect: 'error', signal: AbortSignal.timeout(30_000) })
    if (attempt === 5 || (response.status !== 429 && response.status !== 503)) return response
    await response.body?.cancel()
    const seconds = Math.min(60, Number(response.headers.get('retry-after')) || 5)
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000))
  }
}

function printList(devices) {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  const line = (...texts) => console.log(texts.map((text) => cell(String(text ?? '').trim())).join(','))
  line('id', 'serial', 'name', 'owner', 'sans')
  for (const { azureADDeviceId: id, serialNumber, deviceName, userPrincipalName } of devices) {
    line(id.toLowerCase(), serialNumber === '0' ? '' : serialNumber, deviceName, userPrincipalName, id.toLowerCase())
  }
}
