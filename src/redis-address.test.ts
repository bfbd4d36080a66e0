/** Addresses of the store: what each form means, and that no refusal repeats a secret. */

import { describe, expect, it } from 'vitest'
import { parseRedisAddress } from './redis-address.ts'

const tls = { rejectUnauthorized: true, minVersion: 'TLSv1.2' }
const plain = { kind: 'server', primaryName: '', credentials: {}, sentinelCredentials: {}, db: 0, tls: undefined }

describe('an address of the store', () => {
  it.each([
    [
      'redis://u%40x:p%3Aw@[::1]:6380/3',
      { ...plain, hosts: [{ host: '::1', port: 6380 }], credentials: { username: 'u@x', password: 'p:w' }, db: 3 },
    ],
    ['rediss://Redis.corp.example', { ...plain, hosts: [{ host: 'redis.corp.example', port: 6379 }], tls }],
    ['redis://:50%@h/', { ...plain, hosts: [{ host: 'h', port: 6379 }], credentials: { password: '50%' } }],
    [
      'redis+sentinel://:a%2Fb@s1,s2:1,[::1]:2/main/4?sentinel_user=w&sentinel_password=x%3Dy=z',
      {
        ...plain,
        kind: 'sentinel',
        hosts: [
          { host: 's1', port: 26_379 },
          { host: 's2', port: 1 },
          { host: '::1', port: 2 },
        ],
        primaryName: 'main',
        credentials: { password: 'a/b' },
        sentinelCredentials: { username: 'w', password: 'x=y=z' },
        db: 4,
      },
    ],
    ['rediss+sentinel://s/main', { ...plain, kind: 'sentinel', hosts: [{ host: 's', port: 26_379 }], primaryName: 'main', tls }],
    [
      'rediss+cluster://u:p@h1,h2:7000/0',
      {
        ...plain,
        kind: 'cluster',
        hosts: [
          { host: 'h1', port: 6379 },
          { host: 'h2', port: 7000 },
        ],
        credentials: { username: 'u', password: 'p' },
        tls,
      },
    ],
  ])('%s is read', (text, meant) => {
    expect(parseRedisAddress(text)).toEqual(meant)
  })

  it.each([
    'redis://:hidden@h?tls=x',
    'rediss://:hidden@h?rejectUnauthorized=false',
    'rediss://:hidden@h#x',
    'redis://:hidden@h/x',
    'redis://:hidden@h/12345',
    'redis://:hidden@a,b',
    'redis://:hidden@',
    'redis://:hidden@a:99999',
    'redis://:hid den@a',
    'http://:hidden@h',
    'redis+tls://:hidden@h',
    ':hidden',
    'redis+sentinel://:hidden@s1,,s2/main',
    'redis+sentinel://:hidden@s1,s2',
    'redis+sentinel://:hidden@s1/main/1/2',
    'redis+sentinel://:hidden@s1/ma%20in',
    'redis+sentinel://:hidden@s1/main?sentinel_password=hidden&sentinel_password=hidden',
    'redis+sentinel://:hidden@s1/main?tls=hidden',
    'redis+cluster://:hidden@h1/1',
    'redis+cluster://:hidden@h1?sentinel_password=hidden',
  ])('%s is refused without its password', (text) => {
    const address = parseRedisAddress(text)
    expect(address).toHaveProperty('refusal')
    expect(JSON.stringify(address)).not.toContain('hidden')
  })
})
