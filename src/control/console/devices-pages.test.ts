/** The pages about devices, over real HTTP through the whole console: the inventory, one device, and what is done about it. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { laptop, openPeopleOffice, type PeopleOffice } from './people.fixture.ts'

let office: PeopleOffice
const day = 86_400_000
const now = () => office.console.host.sealer.now()
beforeAll(async () => {
  office = await openPeopleOffice()
  const { devices } = office.access
  await devices.register(
    laptop('laptop-7', { owner: 'bob@corp.example', tags: ['finance'], attributes: { managed: 'true' } }),
    'os:test@test',
  )
  await devices.register(laptop('laptop-8'), 'os:test@test')
  await devices.update('laptop-7', (record) => ({
    ...record,
    lastReport: { iat: now(), jti: 'a', receivedAt: now() },
    reported: {
      report: { disk_encrypted: { value: false, at: now() - 2 * day }, os: { value: 'macos', at: now() } },
      management: { disk_encrypted: { value: true, at: now() - 3 * day } },
    },
  }))
})
afterAll(() => office.close())

const visit = (path: string, person: 'admin' | 'helpdesk' | 'auditor' = 'admin') => office.console.visit(person, path)
async function notice(path: string, fields: Record<string, string>, from: string): Promise<string> {
  const sent = await office.console.submit('admin', path, fields, { from })
  if (sent.status !== 303) throw new Error(`${sent.status}: ${sent.body.slice(0, 2_000)}`)
  return /class="notice-bar [a-z]+" role="status"><bdi>([^<]*)/.exec((await office.console.follow('admin', sent)).body)?.[1] ?? ''
}

describe('the inventory', () => {
  it('is looked through by name, owner, tag, status and age of its last report, and each look is on record', async () => {
    const found = async (query: string) =>
      [...(await visit(`/console/devices?${query}`)).body.matchAll(/href="\/console\/devices\/([^"]+)"/g)].map(([, id]) => id)
    expect(await found('')).toEqual(['laptop-7', 'laptop-8'])
    expect(await found('q=bob%40corp')).toEqual(['laptop-7'])
    expect(await found('tag=finance')).toEqual(['laptop-7'])
    expect(await found('stale=true')).toEqual(['laptop-8'])
    expect(await found('status=blocked')).toEqual([])
    expect(office.reads.at(-1)).toMatchObject({ event: 'data.read', what: 'devices', entries: 0 })
  })

  it('takes a device, and says at the form what is wrong with one', async () => {
    const form = { id: 'phone-1', name: 'Phone', tags: 'loaner, finance', names: 'phone-1.corp.example' }
    expect(await notice('/console/devices', form, '/console/devices')).toContain('Phone is registered')
    expect(await office.access.devices.find('phone-1')).toMatchObject({ tags: ['loaner', 'finance'], names: ['phone-1.corp.example'] })
    const wrong = await office.console.submit('admin', '/console/devices', { id: 'NOT AN ID' }, { from: '/console/devices' })
    expect([wrong.status, wrong.body.includes('The id must be of lower-case letters')]).toEqual([400, true])
    expect(wrong.body).toContain('value="NOT AN ID"')
    const twice = await office.console.submit('admin', '/console/devices', { id: 'phone-2', names: 'phone-1.corp.example' })
    expect([twice.status, twice.body.includes('identifies phone-1 already')]).toEqual([409, true])
    expect(await office.access.devices.find('phone-2')).toBeUndefined()
    const secret = await office.console.submit('admin', '/console/devices', { id: 'phone-3', public_key: '-----BEGIN PRIVATE KEY-----' })
    expect([secret.status, secret.body.includes('this is a private key') || secret.body.includes('This is a private key')]).toEqual([
      400,
      true,
    ])
    expect((await visit('/console/devices?q=phone')).body).toContain('phone-1')
  })
})

describe('the page of a device', () => {
  it('says of each attribute what counts, by whom, how old it is, and what else was said', async () => {
    const { body } = await visit('/console/devices/laptop-7', 'auditor')
    expect(body).toMatch(/disk_encrypted<\/bdi><\/th>\s*<td><span class="badge bad"><bdi>no<\/bdi>/)
    expect(body).toContain('not counted: <bdi>management system: yes, 3 days ago')
    expect(body).toContain('too old')
    expect(body).toContain('entered here')
    expect(office.reads.at(-1)).toMatchObject({ what: 'device', target: 'laptop-7' })
  })

  it('names who is signed in on it', async () => {
    const device = { certificate: laptop('laptop-7').fingerprints[0] ?? '', names: [] }
    await office.signIn('bob', {}, { device })
    await expect.poll(async () => (await visit('/console/devices/laptop-7')).body).toContain('bob@corp.example</bdi></a>')
    expect((await visit(`/console/people/${office.ref('bob')}`)).body).toContain('signed in with its certificate')
  })

  it('is not there for what is in no inventory', async () => {
    for (const id of ['laptop-9', 'NOT%20AN%20ID', '..%2f..%2fetc']) expect((await visit(`/console/devices/${id}`)).status).toBe(404)
  })

  it('gives it other tags, by which rules look at it', async () => {
    expect(await notice('/console/devices/laptop-8/tags', { tags: 'loaner finance' }, '/console/devices/laptop-8')).toContain(
      'loaner, finance',
    )
    expect(office.console.events.at(-1)).toMatchObject({
      event: 'device.tagged',
      actor: 'person:sub-admin',
      reason: 'tags: loaner, finance',
    })
    const wrong = await office.console.submit('admin', '/console/devices/laptop-8/tags', { tags: '<b>' })
    expect([wrong.status, wrong.body.includes('id="device-tags-error"')]).toEqual([400, true])
    expect((await office.access.devices.find('laptop-8'))?.tags).toEqual(['loaner', 'finance'])
  })

  it('blocks it, which ends the sessions on it, and lets it in again', async () => {
    const device = { certificate: laptop('laptop-8').fingerprints[0] ?? '', names: [] }
    const session = await office.signIn('carol', {}, { device })
    office.setConnections(2)
    const said = await notice('/console/devices/laptop-8/block', { reason: 'lost on a train' }, '/console/devices/laptop-8')
    expect(said).toBe('The device is blocked and every session on it has ended; 2 open connections are being closed.')
    expect((await office.console.host.sessions.findById(session.id)).state).toBe('ended')
    const page = (await visit('/console/devices/laptop-8')).body
    expect(page).toContain('lost on a train')
    expect((await visit('/console/locks')).body).toContain('lost on a train')
    expect(await notice('/console/devices/laptop-8/unblock', {}, '/console/devices/laptop-8')).toContain('let in again')
    expect(await office.access.locks.loadAll()).toEqual([])
    const unsaid = await office.console.submit('admin', '/console/devices/laptop-8/block', { reason: ' ' })
    expect([unsaid.status, unsaid.body.includes('id="block-reason-error"')]).toEqual([400, true])
  })

  it('removes it only where its id was typed', async () => {
    const wrong = await office.console.submit('admin', '/console/devices/laptop-8/remove', { typed: 'laptop-7' })
    expect([wrong.status, wrong.body.includes('Type laptop-8 to remove it.')]).toEqual([409, true])
    expect(await office.access.devices.find('laptop-8')).toBeDefined()
    expect(await notice('/console/devices/laptop-8/remove', { typed: 'laptop-8' }, '/console/devices/laptop-8')).toContain(
      'out of the inventory',
    )
    expect(await office.access.devices.find('laptop-8')).toBeUndefined()
    await expect.poll(async () => (await visit('/console/devices')).body).not.toContain('laptop-8"')
  })
})

describe('the helpdesk', () => {
  it('blocks no device on which an admin is signed in, or which their claims name', async () => {
    const { devices } = office.access
    await devices.register(laptop('hers-by-session'), 'os:test@test')
    await devices.register(laptop('hers-by-claim'), 'os:test@test')
    await devices.register(laptop('nobodys'), 'os:test@test')
    await office.signIn(
      'ada',
      { groups: ['postern-admins'] },
      { device: { certificate: laptop('hers-by-session').fingerprints[0] ?? '', names: [] } },
    )
    const past = await office.signIn('ann', { groups: ['postern-admins'], device: 'HERS-BY-CLAIM' })
    await office.console.host.sessions.endSession(past.id, 'signed_out')
    const block = async (id: string) => (await office.console.submit('helpdesk', `/console/devices/${id}/block`, { reason: 'x' })).status
    expect([await block('hers-by-session'), await block('hers-by-claim'), await block('nobodys')]).toEqual([403, 403, 303])
    const states = await Promise.all(
      ['hers-by-session', 'hers-by-claim', 'nobodys'].map(async (id) => (await devices.find(id))?.status.state),
    )
    expect(states).toEqual(['active', 'active', 'blocked'])
  })
})
