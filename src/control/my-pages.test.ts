/** What a person is told of their devices and their data: their own, with its source and age, and true to the configuration. */

import { afterEach, describe, expect, it } from 'vitest'
import { define } from '../administration/devices.fixture.ts'
import { decided } from '../audit/written-trail.fixture.ts'
import type { App } from '../policy/document.ts'
import { deviceCondition } from '../policy/policy.fixture.ts'
import { allow, appOf } from './control-plane.fixture.ts'
import { type PersonalHost, type PersonalHostOptions, startPersonalHost, usualRules } from './portal.fixture.ts'

let host: PersonalHost | undefined
afterEach(async () => {
  await host?.close()
  host = undefined
})
async function start(options: PersonalHostOptions): Promise<PersonalHost> {
  host = await startPersonalHost(options)
  return host
}
const staff = { kind: 'groups', groups: ['staff'] } as const
const board = { kind: 'groups', groups: ['board'] } as const
const apps: readonly App[] = [
  appOf('vault', 'https://vault.corp.example', [
    { ...allow(staff), when: [deviceCondition({ diskEncrypted: true, reportedWithinSeconds: 3600 })] },
  ]),
  appOf('crm', 'https://crm.corp.example', [{ ...allow(staff), when: [deviceCondition({ diskEncrypted: true })] }]),
  appOf('layoffs', 'https://layoffs.corp.example', [{ ...allow(board), when: [deviceCondition({ firewall: true })] }]),
]
const textOf = (body: string) => body.replaceAll(/<[^>]+>/g, ' ').replaceAll(/\s+/g, ' ')

describe('the devices', () => {
  it('are one’s own, with each attribute’s source and age, and what to mend for which app', async () => {
    const { inventory, move, remember, sealer, signInAs, provider } = await start({ apps })
    for (const id of ['laptop-7', 'laptop-8', 'old-mac', 'shared']) {
      const owner = id === 'old-mac' ? 'alice@corp.test' : id === 'laptop-8' ? 'bob@corp.test' : undefined
      await inventory.register(define({ id, name: `The ${id}`, owner, attributes: { managed: 'true' } }), 'os:root@host')
      await inventory.update(id, (record) => ({
        ...record,
        reported: { report: { disk_encrypted: { value: id !== 'laptop-7', at: sealer.now() } }, management: {} },
        lastReport: { iat: sealer.now(), jti: 'x', receivedAt: sealer.now() },
      }))
    }
    const subject = { kind: 'person', issuer: provider.issuer, sub: 'alice' } as const
    for (const device of ['old-mac', 'shared', 'laptop-8', 'gone']) await remember(decided(`r-${device}`, { subject, device }))
    const alice = await signInAs('alice', { device_id: 'laptop-7' })
    await signInAs('bob', { device_id: 'laptop-8' })
    move(600_000)
    const { body } = await alice.visit('/devices')
    const sections = body.split('<section class="mine-box"').slice(1).map(textOf)
    expect(sections).toHaveLength(3)
    expect(sections[0]).toMatch(/The laptop-7 This device laptop-7 .*You are signed in on it.*It last reported 10 minutes ago/)
    expect(sections[0]).toMatch(/Encrypt your disk\..*For Vault, Crm/s)
    expect(sections[0]).toMatch(/Managed by your organisation yes entered by an admin/)
    expect(sections[0]).toMatch(/Disk encrypted · your apps ask for it no the device itself 10 minutes/)
    // Owned by this person: whole. Nobody's by the inventory: named, since the trail remembers, and no more.
    const named = (name: string) => sections.find((text) => text.includes(name)) ?? ''
    expect(named('The old-mac')).toMatch(/The old-mac.*Disk encrypted .* yes .*/)
    expect(named('The shared')).toMatch(/The shared.*You used it/)
    expect(named('The shared')).not.toMatch(/Disk encrypted/)
    expect(textOf(body)).not.toMatch(/laptop-8|Firewall|Layoffs/)
    await inventory.update('laptop-7', (record) => ({
      ...record,
      reported: { report: { disk_encrypted: { value: false, at: sealer.now() - 7_200_000 } }, management: {} },
    }))
    expect(textOf((await alice.visit('/devices')).body)).toMatch(/Disk encrypted · your apps ask for it no the device itself .* too old/)
  })

  it('that are blocked or not registered say so, and an attribute that is asked for and missing stands there', async () => {
    const { inventory, signInAs } = await start({ apps })
    await inventory.register(define({ id: 'laptop-7', attributes: { managed: 'true' } }), 'os:root@host')
    const alice = await signInAs('alice', { device_id: 'laptop-7' })
    expect(textOf((await alice.visit('/devices')).body)).toMatch(/Disk encrypted · your apps ask for it not known missing/)
    await inventory.block('laptop-7', 'stolen, says the helpdesk', 'os:root@host')
    const { body } = await alice.visit('/devices')
    expect(textOf(body)).toMatch(/Blocked.*An administrator has blocked it/)
    expect(body).not.toMatch(/stolen|Managed by/)
    const bob = await signInAs('bob', { device_id: 'phone-1' })
    expect(textOf((await bob.visit('/devices')).body)).toMatch(/phone-1 This device Not registered.*Have this device registered/)
    expect(textOf((await (await signInAs('carol')).visit('/devices')).body)).toContain('No device of yours is known here')
  })
})

describe('what is known', () => {
  it('names each claim with its uses, and one’s own decisions alone, without apps that one may not know of', async () => {
    const { provider, remember, signInAs } = await start({ apps: [...apps, appOf('wiki', 'https://wiki.corp.example', [allow(staff)])] })
    const of = (sub: string) => ({ kind: 'person', issuer: provider.issuer, sub }) as const
    await remember(
      decided('r1', { subject: of('alice'), app: 'wiki', host: 'wiki.corp.example', path: '/a' }),
      decided('r2', {
        subject: of('alice'),
        app: 'layoffs',
        host: 'layoffs.corp.example',
        path: '/b',
        effect: 'deny',
        reason: 'no_rule_matched',
      }),
      decided('r3', { subject: of('bob'), app: 'wiki', host: 'wiki.corp.example', path: '/bobs' }),
    )
    const { body } = await (await signInAs('alice', { department: 'sales', shoe_size: 42 })).visit('/privacy')
    const text = textOf(body)
    expect(text).toMatch(/department sales rules ask for it; recorded with decisions/)
    expect(text).toMatch(/shoe_size 42 comes with your sign-in; nothing here uses it/)
    expect(text).toMatch(/groups staff your groups, which rules ask for; told to each app that you open/)
    expect(text).toMatch(/Wiki : GET wiki\.corp\.example\/a opened/)
    expect(text).toMatch(/GET layoffs\.corp\.example\/b refused\. No rule allows this person/)
    expect(text).not.toMatch(/bobs|Layoffs/)
    expect(text).toContain('kept for 400 days, and for less where it grows beyond 20 GiB')
    expect(text).toMatch(/Not recorded .*what follows the question mark of an address/)
    expect(text).not.toContain('Auditors')
  })

  it('follows the configuration', async () => {
    const { signInAs } = await start({
      apps,
      areRequestsOn: false,
      rules: {
        ...usualRules,
        audit: {
          query: 'keep',
          keep: { ageSeconds: 86_400, bytes: 64 * 1024 ** 2 },
          recordClaims: [['shoe_size']],
          redact: ['email', 'address', 'groups'],
          windowEvents: 0,
          receivers: 2,
        },
        places: { country: true, asn: false },
        roles: ['admin', 'auditor', 'helpdesk'],
      },
    })
    const text = textOf((await (await signInAs('alice', { shoe_size: 42, department: 'sales' })).visit('/privacy')).body)
    const [recorded = '', leftOut = ''] = (text.split('Recorded when it was')[1] ?? '').split('Not recorded')
    expect(recorded).toMatch(/what your browser says of itself.*country of that address.*question mark/)
    expect(recorded).not.toMatch(/e-mail|your groups|the address that you come from|network/)
    expect(leftOut).toMatch(/your e-mail address.*your groups.*the address that you come from/)
    expect(text).toContain('kept for a day, and for less where it grows beyond 64 MiB')
    expect(text).toContain('A copy goes to 2 other systems')
    expect(text).toMatch(/shoe_size 42 recorded with decisions/)
    expect(text).toMatch(/Auditors read all of it.*The helpdesk sees/)
    expect(text).not.toMatch(/What you asked for \(/)
  })
})
