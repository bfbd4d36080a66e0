import { basename } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const shared = {
  environment: 'node',
  pool: 'forks' as const,
  restoreMocks: true,
  // What is waited for comes at once, or on a busy machine a while later.
  expect: { poll: { timeout: 10_000, interval: 20 } },
}
const story = { ...shared, testTimeout: 60_000, hookTimeout: 180_000 }

/** One at a time: these measure memory and delays, or listen where somebody else expects it. */
const alone = ['big-bodies', 'compose', 'demo', 'launcher', 'many-connections', 'shutdown', 'store-away'].map(
  (name) => `e2e/${name}.e2e.ts`,
)

/** What takes longest, of each group first what takes longest of it; what mostly waits stands beside what mostly works. */
const longest = [
  ...['redis-primary', 'policy', 'links', 'decide.property', 'policy-managed-source', 'live-over-redis', 'open-connections-time'],
  ...['policy-revisions', 'trail-window', 'openid-relying-party', 'redis', 'compose-store', 'policy-loader'],
  ...['console-limits', 'provider-metadata', 'races', 'websocket-tunnel', 'provider-mix-up', 'policy-unknowns', 'provider-outage'],
  ...['path-traversal', 'console-payloads', 'forged-identity-header', 'long-connections', 'refused-refresh', 'rogue-store'],
  ...['prototype-names', 'policy-work', 'store-failures', 'policy-methods'],
  ...['fail-over', 'keycloak', 'kept-post', 'device-posture', 'console-pages', 'renewal', 'revocation-commands', 'single-page-app'],
  ...['step-up', 'console-roles', 'pages', 'tokens', 'devices', 'instances', 'explain', 'policy-pages', 'audit-sinks', 'no-leaks', 'tls'],
]

/** Longest first, so that nobody waits at the end of a group for one file. Without results of an earlier run vitest goes by size. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rankOf = ({ moduleId }: TestSpecification) => {
      const rank = longest.indexOf(basename(moduleId).replace(/\.(?:e2e|test)\.ts$/, ''))
      return rank === -1 ? longest.length : rank
    }
    return (await super.sort(files)).sort((a, b) => rankOf(a) - rankOf(b))
  }
}

// Groups run one after the other, in their order.
export default defineConfig({
  test: {
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['src/**/*.test.ts', 'docs/**/*.test.ts'],
          testTimeout: 20_000,
          // Three on two cores: some of them wait, for a store or for a process.
          maxWorkers: 3,
          sequence: { groupOrder: 1 },
        },
      },
      // They mostly wait: for a limit, for a cache to age, for a provider that was told to hang.
      { test: { ...story, name: 'attacks', include: ['e2e/attacks/*.e2e.ts'], maxWorkers: 4, sequence: { groupOrder: 2 } } },
      { test: { ...story, name: 'stories', include: ['e2e/*.e2e.ts'], exclude: alone, maxWorkers: 3, sequence: { groupOrder: 3 } } },
      { test: { ...story, name: 'alone', include: alone, fileParallelism: false, sequence: { groupOrder: 4 } } },
    ],
  },
})
