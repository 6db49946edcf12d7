// Queries and forms with nested names, as Express has them: the parts for OpenFaaS and Kubeless share this.

// formOf reads a query or form with nested names: a=1&a=2 is a list, a[b]=1 an object, a[]=1 and a[0]=1 a list.
function formOf(text, depth, indexes) {
  const form = {};
  for (const part of text.split('&', 1000)) {
    const bracket = part.indexOf(']='), at = bracket < 0 ? part.indexOf('=') : bracket + 1;
    const name = unescaped(at < 0 ? part : part.slice(0, at)), value = at < 0 ? '' : unescaped(part.slice(at + 1));
    if (name) put(form, namesOf(name, depth), value, indexes);
  }
  return compact(form);
}

function unescaped(text) {
  text = text.replace(/\+/g, ' ');
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// namesOf takes a name apart: a[b][] is a, b and ''. What is nested deeper than depth stays one name.
function namesOf(name, depth) {
  const nested = /\[([^[\]]*)\]/g, names = [];
  for (let found; (found = nested.exec(name));) {
    if (!names.length && found.index) names.push({ plain: name.slice(0, found.index) });
    if (depth-- === 0) {
      names.push({ plain: name.slice(found.index) });
      break;
    }
    names.push({ inner: found[1] });
  }
  return names.length ? names : [{ plain: name }];
}

// put adds a value to a form at a path of names.
function put(into, [first, ...rest], value, indexes) {
  let key = first.plain ?? first.inner;
  if (key === '__proto__') return;
  if (Array.isArray(into) && first.inner === '') key = rest.length ? 0 : into.length;
  const there = Object.hasOwn(into, key) ? into[key] : undefined;
  if (!rest.length) {
    into[key] = there === undefined ? value : added(there, value);
    return;
  }
  const asList = isIndex(rest[0], indexes);
  let next = there;
  if (next === undefined) {
    next = asList ? [] : {};
  } else if (typeof next !== 'object') {
    next = [next];
    if (!asList) {
      next.push({});
      into[key] = next;
      return put(next[1], rest, value, indexes);
    }
  } else if (Array.isArray(next) && !asList) {
    next = { ...next };
  }
  into[key] = next;
  put(next, rest, value, indexes);
}

function isIndex({ inner }, indexes) {
  return inner === '' || (inner !== undefined && /^(0|[1-9]\d*)$/.test(inner) && Number(inner) <= indexes);
}

// added is what a name has when it comes once more.
function added(there, value) {
  return Array.isArray(there) ? [...there, value] : [there, value];
}

// compact takes the holes out of lists.
function compact(value) {
  if (Array.isArray(value)) return value.filter(() => true).map(compact);
  if (typeof value === 'object') for (const key of Object.keys(value)) value[key] = compact(value[key]);
  return value;
}
