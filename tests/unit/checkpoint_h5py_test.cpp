// Checkpoint files of h5py, good ones and such as are made to deceive; and ours read by h5py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/files/checkpoint.hpp"
#include "tests/support/sample_checkpoint.hpp"
#include "tests/support/scratch_folder.hpp"

namespace eggroll {
namespace {

namespace fs = std::filesystem;
using test::float_layout;
using test::kAdamSlots;
using test::refusal;
using test::sample_content;
using test::small_layout;
using test::write_checkpoint;

// Runs a script with h5py in `folder`; false where this machine has none.
bool run_python(const test::ScratchFolder& folder, const std::string& script) {
  static const bool has_h5py = std::system("/usr/bin/python3 -c 'import h5py' 2>/dev/null") == 0;
  if (!has_h5py) return false;
  folder.write("script.py", "import h5py, numpy as np\n" + script);
  const std::string command = "cd '" + folder.path().string() + "' && /usr/bin/python3 script.py";
  EXPECT_EQ(std::system(command.c_str()), 0);
  return true;
}

const char* const kPythonAttributes = R"(
f = h5py.File('x.h5', 'r')
a = f.attrs
assert set(a) == {'format_version', 'generation', 'seed', 'data_digest', 'noise_law', 'arithmetic', 'config', 'layout',
                  'slots', 'parameters_digest', 'content_xxh3'}, set(a)
assert a['format_version'] == 2 and a['generation'] == 42 and a['seed'] == 2**64 - 1
assert a['data_digest'].decode() == '0123456789abcdef'
assert a['noise_law'].decode() == 'philox10_two_table_v1' and a['arithmetic'].decode() == 'exact'
assert a['config'].decode() == 'layers = 2\nwidth = 4\n# \u00e4\n'
assert len(a['parameters_digest']) == 16 and len(a['content_xxh3']) == 16
)";

TEST(CheckpointH5py, H5pyReadsWhatWeWrite) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  write_checkpoint(folder / "x.h5", layout, sample_content(layout, 3));
  const bool ran = run_python(folder, kPythonAttributes + std::string(R"(
assert a['layout'].decode() == """emb embedding low_rank int8 6 4
layers.10.Wf matrix low_rank int8 4 3
layers.2.Wf matrix low_rank int8 3 5
bias vector product int8 7 1
"""
assert a['slots'].decode() == 'accumulators int32\n'
shapes = {'emb': (6, 4), 'layers.10.Wf': (4, 3), 'layers.2.Wf': (3, 5), 'bias': (7,)}
i = 0
for name, shape in shapes.items():
    p, m = f['parameters'][name], f['accumulators'][name]
    assert p.shape == m.shape == shape and p.dtype == np.int8 and m.dtype == np.int32
    n = p.size
    assert p[()].ravel().tolist() == [127 - j * 37 % 255 for j in range(i, i + n)]
    i += n
assert set(f['parameters']) == set(f['accumulators']) == set(shapes)
assert f['states'].shape == (3, 2, 4) and f['states'].dtype == np.int8
assert f['states'][()].ravel().tolist() == [j * 11 % 255 - 127 for j in range(24)]
)"));
  ASSERT_TRUE(ran) << "needs h5py of /usr/bin/python3; deploy/setup.sh installs it";
}

TEST(CheckpointH5py, H5pyReadsFloatsAndTheirSlots) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = float_layout();
  write_checkpoint(folder / "x.h5", layout, sample_content(layout, 0, kAdamSlots));
  const bool ran = run_python(folder, kPythonAttributes + std::string(R"(
assert a['slots'].decode() == 'adam_m float32\nadam_v float32\n'
assert 'states' not in f and 'accumulators' not in f
trained = 0
for line in a['layout'].decode().splitlines():
    name, role, noise, element, rows, cols = line.split(' ')
    p = f['parameters'][name]
    assert p.dtype == np.dtype(element).newbyteorder('<')
    assert p.shape == ((int(rows),) if role == 'vector' else (int(rows), int(cols)))
    for slot in ('adam_m', 'adam_v'):
        if noise == 'none':
            assert name not in f[slot]
        else:
            assert f[slot][name].shape == p.shape and f[slot][name].dtype == np.dtype('<f4')
    if noise != 'none':
        i = np.arange(trained, trained + p.size)
        m = f['adam_m'][name][()].ravel()
        usual = ~np.isin(i % 11, (7, 8, 9))
        assert (m[usual] == i[usual].astype(np.float32) * np.float32(0.37) - np.float32(5)).all()
        assert (m.view(np.uint32)[i % 11 == 8] == 0x7FC01234).all()
        trained += p.size
assert trained == 31
)"));
  ASSERT_TRUE(ran) << "needs h5py of /usr/bin/python3; deploy/setup.sh installs it";
}

// A parameters-only file in Python: write(name, **changes) makes one.
const char* const kPythonWriter = R"(
i = 0
tensors = {}
for name, shape in {'emb': (6, 4), 'layers.10.Wf': (4, 3), 'layers.2.Wf': (3, 5),
                    'bias': (7,)}.items():
    n = int(np.prod(shape))
    tensors[name] = np.array([127 - j * 37 % 255 for j in range(i, i + n)], np.int8).reshape(shape)
    i += n
def write(path, config='layers = 2\nwidth = 4\n', skip=(), **options):
    f = h5py.File(path, 'w')
    f.create_group('parameters')
    for name, values in tensors.items():
        if name not in skip:
            f['parameters'].create_dataset(name, data=values, **options)
    if config is not None:
        f.attrs['config'] = config
    return f
)";

TEST(CheckpointH5py, ReadsParametersOnlyFilesOfH5py) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  const bool ran = run_python(folder, std::string(kPythonWriter) + R"(
write('variable.h5').close()
write('fixed.h5', config=np.bytes_('layers = 2\nwidth = 4\n')).close()
write('chunked.h5', chunks=True).close()
write('packed.h5', compression='gzip', shuffle=True, fletcher32=True).close()
write('bare.h5', config=None).close()
with write('more.h5') as f:
    f.attrs['generation'] = 7
    f.attrs['seed'] = np.array([9], np.uint16)
    f.attrs['author'] = 'someone'
    f['notes'] = [1.5, 2.5]
f = h5py.File('latest.h5', 'w', libver='latest')
for name, values in tensors.items():
    f['parameters/' + name] = values.astype('>i1')
f.attrs['config'] = 'layers = 2\nwidth = 4\n'
f.close()
with write('compact.h5', skip=['bias']) as f:
    p = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    p.set_layout(h5py.h5d.COMPACT)
    d = h5py.h5d.create(f['parameters'].id, b'bias', h5py.h5t.STD_I8LE,
                        h5py.h5s.create_simple((7,)), dcpl=p)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, tensors['bias'])
)");
  ASSERT_TRUE(ran) << "needs h5py of /usr/bin/python3; deploy/setup.sh installs it";
  const std::vector<std::byte> expected = sample_content(layout, 0).arenas.arenas[0];
  for (const char* name : {"variable.h5", "fixed.h5", "chunked.h5", "packed.h5", "bare.h5",
                           "more.h5", "latest.h5", "compact.h5"}) {
    const CheckpointReader reader(folder / name);
    reader.verify();
    EXPECT_FALSE(reader.is_complete()) << name;
    EXPECT_EQ(reader.read_parameters(layout), expected) << name;
    EXPECT_TRUE(reader.header().slots.empty()) << name;
    EXPECT_EQ(refusal([&] { reader.layout(); }), (folder / name).string() + ": states no layout");
    const bool is_bare = name == std::string("bare.h5");
    EXPECT_EQ(reader.header().config, is_bare ? "" : "layers = 2\nwidth = 4\n") << name;
    EXPECT_EQ(reader.header().state_slots, 0u);
    const bool has_more = name == std::string("more.h5");
    EXPECT_EQ(reader.header().generation, has_more ? 7u : 0u);
    EXPECT_EQ(reader.header().seed, has_more ? 9u : 0u);
  }
}

TEST(CheckpointH5py, ReadsFloatsOfH5py) {
  const test::ScratchFolder folder;
  ParameterLayout layout;
  layout.add("W", Role::matrix, Noise::low_rank, Element::float32, 2, 3);
  layout.add("b", Role::vector, Noise::full, Element::float32, 2, 1);
  const bool ran = run_python(folder, R"(
def write(path, dtype='<f4', **attributes):
    with h5py.File(path, 'w') as f:
        f['parameters/W'] = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
        f.create_dataset('parameters/b', data=[-0.5, 0.25], dtype=dtype)
        f.attrs['config'] = 'task = quadratic\n'
        for name, value in attributes.items():
            f.attrs[name] = value
write('plain.h5')
write('stated.h5', layout='W matrix low_rank float32 2 3\nb vector full float32 2 1\n')
write('double.h5', '<f8')
write('half.h5', '<f2')
write('big_endian.h5', '>f4')
)");
  ASSERT_TRUE(ran) << "needs h5py of /usr/bin/python3; deploy/setup.sh installs it";
  const std::vector<float> expected = {1, 2, 3, 4, 5, 6, -0.5f, 0.25f};
  const auto expected_bytes = std::as_bytes(std::span(expected));
  for (const char* name : {"plain.h5", "stated.h5"}) {
    const CheckpointReader reader(folder / name);
    reader.verify();
    EXPECT_TRUE(std::ranges::equal(reader.read_parameters(layout), expected_bytes)) << name;
  }
  EXPECT_EQ(CheckpointReader(folder / "stated.h5").layout().text(), layout.text());
  const std::pair<const char*, const char*> refused[] = {
      {"double.h5", "float64"}, {"half.h5", "float16"}, {"big_endian.h5", "big-endian float32"}};
  for (const auto& [name, elements] : refused)
    EXPECT_EQ(refusal([&] { CheckpointReader(folder / name).read_parameters(layout); }),
              (folder / name).string() + ": parameters/b holds " + elements +
                  "; allowed are int8, and int32, int64 and float32, little-endian");
}

TEST(CheckpointH5py, RefusesFilesThatAreNotWhatTheySeem) {
  const test::ScratchFolder folder;
  const ParameterLayout layout = small_layout();
  write_checkpoint(folder / "ours.h5", layout, sample_content(layout, 3));
  const bool ran = run_python(folder, std::string(kPythonWriter) + R"(
import shutil
good = write('good.h5'); good.close()
def bias(path, **options):  # another bias
    with write(path, skip=['bias']) as f:
        f['parameters'].create_dataset('bias', **options)
def ours(path):
    shutil.copy('ours.h5', path)
    return h5py.File(path, 'r+')
bias('unsigned.h5', data=tensors['bias'].astype(np.uint8))
bias('wide.h5', data=tensors['bias'].astype(np.int16))
bias('int32.h5', data=tensors['bias'].astype(np.int32))
bias('big_endian.h5', data=tensors['bias'].astype('>i4'))
bias('double.h5', data=tensors['bias'].astype(np.float64))
bias('float.h5', data=tensors['bias'].astype(np.float32))
bias('enum.h5', data=np.ones(7, bool))
bias('text.h5', data=np.array([b'a'] * 7))
bias('scalar.h5', data=np.int8(3))
bias('empty.h5', shape=(0,), dtype=np.int8)
bias('large.h5', shape=(2**45,), dtype=np.int8, chunks=(2**20,))
bias('larger.h5', shape=(2**62, 2**62), dtype=np.int8, chunks=(2**10, 2**10))
bias('long.h5', shape=(2**40, 2**30), dtype=np.int8, chunks=(2**10, 2**10))
bias('unwritten.h5', shape=(7,), dtype=np.int8)
bias('external.h5', shape=(7,), dtype=np.int8, external=[('good.h5', 0, 7)])
with write('chunk.h5', skip=['bias']) as f:
    d = f['parameters'].create_dataset('bias', shape=(2**30,), dtype=np.int8, chunks=(2**29,),
                                       compression='gzip')
    d[0] = 1
with write('virtual.h5', skip=['bias']) as f:
    v = h5py.VirtualLayout(shape=(7,), dtype=np.int8)
    v[:] = h5py.VirtualSource('good.h5', 'parameters/bias', shape=(7,))
    f['parameters'].create_virtual_dataset('bias', v)
with write('soft.h5') as f:
    f['other'] = tensors['bias']
    del f['parameters/bias']
    f['parameters/bias'] = h5py.SoftLink('/other')
with write('link.h5', skip=['bias']) as f:
    f['parameters/bias'] = h5py.ExternalLink('good.h5', '/parameters/bias')
with write('group.h5', skip=['bias']) as f:
    f['parameters'].create_group('bias')
with h5py.File('groups.h5', 'w') as f:
    f['parameters'] = h5py.ExternalLink('good.h5', '/parameters')
with h5py.File('dataset.h5', 'w') as f:
    f['parameters'] = [1, 2]
with h5py.File('none.h5', 'w') as f:
    f.attrs['config'] = ''
write('extra.h5').create_dataset('parameters/more', data=tensors['bias'])
write('number.h5', config=5).close()
write('texts.h5', config=['a', 'b']).close()
write('huge.h5', config=None).close()
with h5py.File('huge.h5', 'r+', libver='latest') as f:
    f.attrs['config'] = 'x' * (2**20 + 1)
with h5py.File('huge_fixed.h5', 'w', libver='latest') as f:
    f.create_group('parameters')
    f.attrs.create('config', np.bytes_('x' * (2**20 + 1)))
with write('negative.h5') as f: f.attrs['generation'] = -1
with write('real.h5') as f: f.attrs['seed'] = 1.5
with write('many.h5') as f: f.attrs['seed'] = [1, 2]
with ours('newer.h5') as f: f.attrs['format_version'] = 3
with ours('zero.h5') as f: f.attrs['format_version'] = 0
with ours('older.h5') as f: f.attrs['format_version'] = 1
for name in ['generation', 'arithmetic', 'config', 'layout', 'slots', 'content_xxh3']:
    with ours('without_%s.h5' % name) as f: del f.attrs[name]
with ours('states_gone.h5') as f: del f['states']
with ours('accumulators_gone.h5') as f: del f['accumulators']
with ours('another_slot.h5') as f:
    f.move('accumulators', 'adam_m'); f.attrs['slots'] = 'adam_m int32\n'
with ours('fewer_slots.h5') as f: f.attrs['slots'] = ''
with ours('noise.h5') as f: f.attrs['layout'] = f.attrs['layout'].decode().replace('product', 'full')
with ours('arithmetic.h5') as f: f.attrs['arithmetic'] = 'fp32 one-order'
with ours('tensor_gone.h5') as f: del f['parameters/emb']
with ours('generation.h5') as f: f.attrs['generation'] = 43
with ours('config.h5') as f: f.attrs['config'] = 'layers = 3\n'
with ours('weight.h5') as f: f['parameters/emb'][0, 0] += 1
with ours('state.h5') as f: f['states'][2, 1, 3] += 1
with ours('swapped.h5') as f:
    f.move('parameters/emb', 'parameters/x'); f.move('parameters/bias', 'parameters/emb')
    f.move('parameters/x', 'parameters/bias')
with ours('flat.h5') as f:
    d = f['states'][()]; del f['states']; f['states'] = d.reshape(3, 8)
)");
  ASSERT_TRUE(ran) << "needs h5py of /usr/bin/python3; deploy/setup.sh installs it";
  const std::pair<const char*, const char*> cases[] = {
      {"good", "no error"},
      {"unsigned",
       "parameters/bias holds uint8; allowed are int8, and int32, int64 and float32, "
       "little-endian"},
      {"wide",
       "parameters/bias holds int16; allowed are int8, and int32, int64 and float32, "
       "little-endian"},
      {"float", "parameters/bias holds float32, needed is int8"},
      {"int32", "parameters/bias holds int32, needed is int8"},
      {"big_endian", "parameters/bias holds big-endian int32; allowed are"},
      {"double", "parameters/bias holds float64; allowed are"},
      {"enum",
       "parameters/bias holds no numbers; allowed are int8, and int32, int64 and float32, "
       "little-endian"},
      {"text",
       "parameters/bias holds no numbers; allowed are int8, and int32, int64 and float32, "
       "little-endian"},
      {"scalar", "parameters/bias has 0 dimensions"},
      {"empty", "parameters/bias has the impossible shape [0]"},
      {"large", "parameters/bias holds 0 bytes, its shape [35184372088832] needs 35184372088832"},
      {"larger",
       "parameters/bias has the impossible shape [4611686018427387904, 4611686018427387904]"},
      {"long", "parameters/bias has the impossible shape [1099511627776, 1073741824]"},
      {"unwritten", "parameters/bias holds 0 bytes, its shape [7] needs 7"},
      {"external", "parameters/bias has its data elsewhere; a checkpoint holds its own"},
      {"chunk", "parameters/bias is stored in pieces of more than 268435456 bytes"},
      {"virtual", "parameters/bias has its data elsewhere; a checkpoint holds its own"},
      {"soft", "bias is a link to elsewhere; a checkpoint holds its own data"},
      {"link", "bias is a link to elsewhere; a checkpoint holds its own data"},
      {"group", "bias is not a dataset"},
      {"groups", "parameters is a link to elsewhere; a checkpoint holds its own data"},
      {"dataset", "parameters is not a group"},
      {"none", "holds no parameters, so it is no checkpoint"},
      {"extra", "parameters holds 5 tensors, the model has 4"},
      {"number", "attribute config is not one text"},
      {"texts", "attribute config is not one text"},
      {"huge", "attribute config is longer than 1048576 bytes"},
      {"huge_fixed", "attribute config is longer than 1048576 bytes"},
      {"negative", "attribute generation is -1, below zero"},
      {"real", "attribute seed is not one whole number"},
      {"many", "attribute seed is not one whole number"},
      {"newer", "format_version 3, written by a newer eggroll; this one reads up to 2"},
      {"zero", "format_version 0 is none of eggroll's"},
      {"without_generation", "attribute generation is missing"},
      {"without_config", "attribute config is missing"},
      {"without_arithmetic", "attribute arithmetic is missing"},
      {"without_layout", "attribute layout is missing"},
      {"without_slots", "attribute slots is missing"},
      {"older", "attribute data_position is missing"},
      {"without_content_xxh3", "attribute content_xxh3 is missing"},
      {"states_gone", "damaged"},
      {"accumulators_gone", "attribute slots names accumulators, of which it holds nothing"},
      {"another_slot", "damaged"},
      {"fewer_slots", "damaged"},
      {"noise", "damaged"},
      {"arithmetic", "damaged"},
      {"tensor_gone", "damaged"},
      {"generation", "damaged"},
      {"config", "damaged"},
      {"weight", "damaged"},
      {"state", "damaged"},
      {"swapped", "damaged"},
      {"flat", "damaged"},
  };
  for (const auto& [name, expected] : cases) {
    const fs::path path = folder / (std::string(name) + ".h5");
    const std::string words = refusal([&] {
      const CheckpointReader reader(path);
      reader.verify();
      reader.read_parameters(layout);
    });
    const std::string start = path.string() + ": " + expected;
    if (expected == std::string("no error"))
      EXPECT_EQ(words, expected) << name;
    else
      EXPECT_EQ(words.substr(0, start.size()), start);
  }
}

}  // namespace
}  // namespace eggroll
