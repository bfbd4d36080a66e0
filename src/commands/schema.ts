/**
 * `postern schema config|policy|posture-report`: JSON Schema for editors, made from the very schemas that judge the files.
 *
 * `config/schema/*.json` are its output, for the modeline in the example files; a test keeps them equal.
 */

import { Argument, type Command } from 'commander'
import { printJsonSchema } from '../config/json-schema.ts'
import { printPostureReportSchema } from '../config/posture-report-schema.ts'

/** Adds `schema`. */
export function registerSchema(program: Command): void {
  program
    .command('schema')
    .description('print the JSON Schema of a file, for editors')
    .addArgument(new Argument('<file>', 'which file').choices(['config', 'policy', 'posture-report']))
    .action((file: 'config' | 'policy' | 'posture-report') => {
      process.stdout.write(file === 'posture-report' ? printPostureReportSchema() : printJsonSchema(file))
    })
}
