/**
 * Hands what Jamf Pro knows of each Mac on to Postern. Run it on a schedule, anywhere that reaches both; Node 18 or later, no packages.
 *
 *   node push-posture.mjs         report on every Mac
 *   node push-posture.mjs --csv   print the Macs as a list for `postern device import`
 *
 * Settings come from the environment: JAMF_URL, and CLIENT_ID and CLIENT_SECRET of an API client whose role has *Read Computers*; POSTERN_URL
 * and POSTERN_TOKEN (`postern token create --scope devices:report`). SCREEN_LOCK_ATTRIBUTE names an extension attribute that says `true`
 * or `false`, if there is one. A Mac is called by its UDID. What was observed is dated by its last inventory update, so a Mac that
 * went silent grows old in Postern as it does in Jamf. Exit status: 0 all accepted, 1 some were refused, 2 could not run.
 */

const { JAMF_URL, CLIENT_ID, CLIENT_SECRET, SCREEN_LOCK_ATTRIBUTE, POSTERN_URL, POSTERN_TOKEN } = process.env
const api = process.env.JAMF_API ?? 'v1'
const isList = process.argv.includes('--csv')
/** Reports at the same time. */
const atOnce = 8
const pageSize = 200

const sections = ['GENERAL', 'HARDWARE', 'OPERATING_SYSTEM', 'DISK_ENCRYPTION', 'SECURITY', 'USER_AND_LOCATION', 'EXTENSION_ATTRIBUTES']

try {
  const macs = await loadMacs(await signIn())
  if (isList) printList(macs)
  else process.exitCode = (await pushAll(macs)) === 0 ? 0 : 1
} catch (error) {
  console.error(`push-posture: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 2
}

async function signIn() {
  if (!JAMF_URL || !CLIENT_ID || !CLIENT_SECRET) throw new Error('set JAMF_URL, CLIENT_ID and CLIENT_SECRET')
  const form = { grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: CLIENT_SECRET }
  const response = await patiently(new URL('/api/oauth/token', JAMF_URL), { method: 'POST', body: new URLSearchParams(form) })
  if (!response.ok) throw new Error(`no access token (${response.status})`)
  return (await response.json()).access_token
}

async function loadMacs(token) {
  const macs = []
  for (let page = 0; ; page += 1) {
    const url = new URL(`/api/${api}/computers-inventory`, JAMF_URL)
    for (const section of sections) url.searchParams.append('section', section)
    url.searchParams.set('page', String(page))
    url.searchParams.set('page-size', String(pageSize))
    url.searchParams.set('sort', 'id:asc')
    const response = await patiently(url, { headers: { authorization: `Bearer ${token}`, accept: 'application/json' } })
    if (!response.ok) throw new Error(`the inventory was refused (${response.status})`)
    const { results, totalCount } = await response.json()
    macs.push(...results.filter(({ udid }) => /^[0-9a-f-]{25,36}$/i.test(udid ?? '')))
    if (results.length === 0 || (page + 1) * pageSize >= totalCount) return macs
  }
}

function postureOf({ general, operatingSystem, diskEncryption, security, extensionAttributes }) {
  const disk = diskEncryption?.bootPartitionEncryptionDetails?.partitionFileVault2State
  const lock = SCREEN_LOCK_ATTRIBUTE === undefined ? undefined : extensionAttributes?.find(({ name }) => name === SCREEN_LOCK_ATTRIBUTE)?.values?.[0]
  return {
    managed: general?.remoteManagement?.managed === true,
    // Only a disk that is encrypted by now counts; what is unknown is left out.
    ...(disk === undefined || disk === null || disk === 'UNKNOWN' ? {} : { disk_encrypted: disk === 'ENCRYPTED' }),
    ...(typeof security?.firewallEnabled === 'boolean' ? { firewall: security.firewallEnabled } : {}),
    ...(lock === 'true' || lock === 'false' ? { screen_lock: lock === 'true' } : {}),
    os: 'macos',
    ...(operatingSystem?.version ? { os_version: operatingSystem.version.slice(0, 64) } : {}),
    ...(typeof security?.sipStatus === 'string' ? { attributes: { sip: security.sipStatus.toLowerCase() } } : {}),
  }
}

async function pushAll(macs) {
  if (!POSTERN_URL || !POSTERN_TOKEN) throw new Error('set POSTERN_URL and POSTERN_TOKEN')
  let refused = 0
  const queue = macs.filter(({ general }) => general?.reportDate)
  const work = async () => {
    for (let mac = queue.shift(); mac !== undefined; mac = queue.shift()) if (!(await push(mac))) refused += 1
  }
  await Promise.all(Array.from({ length: atOnce }, work))
  console.log(`push-posture: ${macs.length} Macs, ${refused} refused`)
  return refused
}

async function push(mac) {
  const id = mac.udid.toLowerCase()
  const response = await patiently(new URL(`/api/v1/devices/${id}/reports`, POSTERN_URL), {
    method: 'POST',
    headers: { authorization: `Bearer ${POSTERN_TOKEN}`, 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify({ observed_at: mac.general.reportDate, posture: postureOf(mac) }),
  })
  const answer = await response.json().catch(() => ({}))
  // 409: Postern has heard something newer, perhaps from the Mac itself.
  if (response.ok || response.status === 409) return true
  if (response.status === 401) throw new Error(`Postern refused the token: ${answer.message ?? ''}`)
  console.error(`push-posture: ${id} (${mac.general?.name}): ${answer.error ?? response.status}`)
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

function printList(macs) {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text)
  const line = (...texts) => console.log(texts.map((text) => cell(String(text ?? '').trim())).join(','))
  line('id', 'serial', 'name', 'owner', 'sans')
  for (const { udid, hardware, general, userAndLocation } of macs) {
    line(udid.toLowerCase(), hardware?.serialNumber, general?.name, userAndLocation?.email, udid.toLowerCase())
  }
}
