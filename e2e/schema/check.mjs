// Writes the dashboard as TypeScript, for the compiler to check, and next to it
// broken ones in which the compiler has to find the error.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { json } from '../../dashboards/chatwize.mjs';
import { defaultDashboard } from '@grafana/schema/dist/esm/raw/dashboard/x/Dashboard_types.gen';

const text = readFileSync(new URL('../../dashboards/chatwize.json', import.meta.url), 'utf8');
const dashboard = JSON.parse(text);
assert.ok(text === json, 'dashboards/chatwize.json is not what dashboards/chatwize.mjs writes: run make dashboard');
assert.equal(dashboard.schemaVersion, defaultDashboard.schemaVersion, 'schemaVersion is not the current one');

const first = (d, type) => d.panels.flatMap((p) => [p, ...(p.panels ?? [])]).find((p) => p.type === type);

const broken = {
  'an unknown field of the dashboard': (d) => { d.definition = ''; },
  'a missing schema version': (d) => { delete d.schemaVersion; },
  'a refresh that is no text': (d) => { d.refresh = 60; },
  'a variable that is refreshed on a third occasion': (d) => { d.templating.list[1].refresh = 3; },
  'a variable of an unknown type': (d) => { d.templating.list[1].type = 'prometheus'; },
  'a link without a title': (d) => { delete d.links[0].title; },
  'a row without panels': (d) => { delete first(d, 'row').panels; },
  'an unknown field of a panel': (d) => { first(d, 'stat').thresholds = []; },
  'an unknown type of panel': (d) => { first(d, 'stat').type = 'graph'; },
  'a panel without a description': (d) => { delete first(d, 'stat').description; },
  'a panel of another data source': (d) => { first(d, 'stat').datasource.uid = 'prometheus'; },
  'an unknown field of a query': (d) => { first(d, 'stat').targets[0].intervalFactor = 2; },
  'an unknown option of a stat': (d) => { first(d, 'stat').options.colour = 'value'; },
  'an unknown value of an option of a stat': (d) => { first(d, 'stat').options.colorMode = 'text'; },
  'a missing option of a table': (d) => { delete first(d, 'table').options.showHeader; },
  'an option of a time series in a table': (d) => { first(d, 'table').options.legend = {}; },
  'a wrong unit': (d) => { first(d, 'stat').fieldConfig.defaults.unit = 1; },
  'an unknown style of a time series': (d) => { first(d, 'timeseries').fieldConfig.defaults.custom.drawStyle = 'stairs'; },
  'an unknown field of a time series': (d) => { first(d, 'timeseries').fieldConfig.defaults.custom.lines = true; },
  'an unknown field in an override': (d) => { first(d, 'table').fieldConfig.overrides[1].properties[0].id = 'units'; },
  'a wrong value in an override': (d) => { first(d, 'table').fieldConfig.overrides[1].properties[0].value = 'wide'; },
};

mkdirSync('build', { recursive: true });
const header = "import type { Dashboard } from '../types';\n";
writeFileSync('build/dashboard.ts', `${header}export default ${text.trimEnd()} satisfies Dashboard;\n`);
writeFileSync('build/broken.ts', header + Object.entries(broken).map(([what, breakIt]) => {
  const copy = structuredClone(dashboard);
  breakIt(copy);
  assert.notDeepEqual(copy, dashboard, `${what}: nothing was changed`);
  return `// @ts-expect-error ${what}\n(${JSON.stringify(copy)}) satisfies Dashboard;\n`;
}).join(''));
