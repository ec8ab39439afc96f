"""Runs in an environment: every entry of ``d2l.torch`` that needs no network, once; prints JSON.

Each row is an entry and an expression, whose seeded numbers are what two environments are compared by. It runs
on Python 3.9, too.
"""

import json
import os
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")
os.environ["MPLBACKEND"] = "agg"
work = tempfile.mkdtemp(prefix="d2l-entries-")
os.chdir(work)
sys.path[:] = [path for path in sys.path if path not in ("", os.path.dirname(os.path.abspath(__file__)))]

import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from d2l import torch as d2l  # noqa: E402
from torch import nn  # noqa: E402

CPU = torch.device("cpu")
NEEDS_NETWORK = [
    "BananasDataset",
    "FashionMNIST",
    "MTFraEng",
    "SNLIDataset",
    "TimeMachine",
    "TokenEmbedding",
    "VOCSegDataset",
    "download",
    "download_all",
    "download_extract",
    "hpo_objective_lenet",
    "load_corpus_time_machine",
    "load_data_bananas",
    "load_data_fashion_mnist",
    "load_data_imdb",
    "load_data_nmt",
    "load_data_ptb",
    "load_data_snli",
    "load_data_time_machine",
    "load_data_voc",
    "load_data_wiki",
    "read_data_bananas",
    "read_data_nmt",
    "read_imdb",
    "read_ptb",
    "read_snli",
    "read_time_machine",
    "read_voc_images",
    "SeqDataLoader",
    "get_data_ch11",
    "train_ch11",
    "train_concise_ch11",
    "extract",
]
# The Chinese edition's, left in 1.0.3 without the losses and encoders that they were written for.
LEFT_OVER = [] if not hasattr(d2l, "HyperParameters") else ["predict_seq2seq", "train_seq2seq"]
NEEDS_GYM = ["frozen_lake", "make_env", "show_Q_function_progress", "show_value_function_progress"]

line = ["the", "time", "machine", "by", "h", "g", "wells"]
vocab = d2l.Vocab([line, line[:3]], reserved_tokens=["<pad>", "<bos>", "<eos>"])
boxes = torch.tensor([[0.1, 0.1, 0.5, 0.5], [0.2, 0.2, 0.9, 0.8], [0.15, 0.1, 0.55, 0.5]])


def ones(*shape):
    return torch.linspace(-1, 1, int(np.prod(shape))).reshape(shape)


def data(n=24, d=2):
    X = torch.randn(n, d)
    return X, X.sum(1, keepdim=True)


def labelled(n=24):
    return torch.randn(n, 1, 28, 28), torch.arange(n) % 10


def loader(arrays, size=4):
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*arrays), size)


def flat_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def weights(net):
    return [p.detach().double().sum().item() for p in net.parameters()]


def figure():
    return plt.figure().add_subplot()


def csv():
    with open("labels.csv", "w") as file:
        file.write("name,label\na,x\nb,y\nc,x\nd,y\n")
    return "labels.csv"


def folders():
    labels = d2l.read_csv_labels(csv())
    os.makedirs("data/train", exist_ok=True)
    os.makedirs("data/test", exist_ok=True)
    for name in labels:
        open(f"data/train/{name}.png", "w").close()
    open("data/test/t.png", "w").close()
    return labels


def trained_13():
    net = flat_net()
    trainer = torch.optim.SGD(net.parameters(), lr=0.1)
    d2l.train_ch13(
        net, loader(labelled()), loader(labelled()), nn.CrossEntropyLoss(reduction="none"), trainer, 1, [CPU]
    )
    return weights(net)


def batch_13():
    net, (X, y) = flat_net(), labelled()
    trainer = torch.optim.SGD(net.parameters(), lr=0.1)
    return d2l.train_batch_ch13(net, X, y, nn.CrossEntropyLoss(reduction="none"), trainer, [CPU])


def trained_6():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    d2l.train_ch6(net, loader(labelled()), loader(labelled()), 1, 0.1, CPU)
    return weights(net)


def gan():
    net_D, net_G = nn.Sequential(nn.Linear(2, 1)), nn.Sequential(nn.Linear(2, 2))
    X, Z, loss = torch.randn(8, 2), torch.randn(8, 2), nn.BCEWithLogitsLoss(reduction="sum")
    D = d2l.update_D(X, Z, net_D, net_G, loss, torch.optim.SGD(net_D.parameters(), lr=0.1))
    return [D, d2l.update_G(Z, net_D, net_G, loss, torch.optim.SGD(net_G.parameters(), lr=0.1))]


class Tiny(nn.Module):
    def forward(self, X, y=None):
        return torch.stack([X.float().sum(1), -X.float().sum(1)], 1)


class Pair(nn.Module):
    def forward(self, X):
        return torch.ones(1, 3)


def sgd_once():
    w = torch.ones(3, requires_grad=True)
    (w * w).sum().backward()
    d2l.sgd([w], 0.1, 1)
    return w


def clipped():
    net = nn.Linear(4, 4)
    (net(torch.ones(2, 4)) * 100).sum().backward()
    d2l.grad_clipping(net, 1)
    return net.weight.grad


def bananas():
    anchors = d2l.multibox_prior(torch.zeros(1, 3, 4, 4), sizes=[0.75, 0.5], ratios=[1, 2])
    labels = torch.tensor([[[0, 0.1, 0.1, 0.6, 0.6]]])
    return anchors, labels


BOTH = {
    "Accumulator": "(lambda a: (a.add(1, 2), a.add(3, 4), a.data)[-1])(d2l.Accumulator(2))",
    "AddNorm": "d2l.AddNorm([4], 0)(ones(2, 3, 4), ones(2, 3, 4))",
    "Animator": "(lambda a: (a.add(1, (1.0, 2.0)), a.add(2, (3.0, 4.0)), a.X)[-1])(d2l.Animator(legend=['a', 'b']))",
    "AttentionDecoder": "len(list(d2l.AttentionDecoder().parameters()))",
    "Benchmark": "d2l.Benchmark('x').__enter__() is None",
    "Decoder": "len(list(d2l.Decoder().parameters()))",
    "DotProductAttention": "d2l.DotProductAttention(0).eval()(ones(2, 1, 4), ones(2, 5, 4), ones(2, 5, 3), torch.tensor([2, 4]))",
    "Encoder": "len(list(d2l.Encoder().parameters()))",
    "EncoderDecoder": "len(list(d2l.EncoderDecoder(nn.Linear(1, 1), nn.Linear(1, 1)).parameters()))",
    "MaskedSoftmaxCELoss": "d2l.MaskedSoftmaxCELoss()(torch.ones(3, 4, 10), torch.ones((3, 4), dtype=torch.long), torch.tensor([4, 2, 0]))",
    "PositionalEncoding": "d2l.PositionalEncoding(8, 0)(torch.zeros(1, 6, 8))",
    "RandomGenerator": "(np.random.seed(0), __import__('random').seed(0), [d2l.RandomGenerator([2, 3, 4]).draw() for _ in range(5)])[-1]",
    "Residual": "(d2l.Residual(3, 3) if ZH else d2l.Residual(3)).eval()(ones(2, 3, 6, 6))",
    "Timer": "isinstance(d2l.Timer().stop(), float)",
    "Vocab": "[len(vocab), vocab['machine'], *vocab[['the', 'nothing']]]",
    "accuracy": "d2l.accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))",
    "annotate": "d2l.plt.plot([1]) and d2l.annotate('x', (0, 0), (1, 1)) is None",
    "argmax": "d2l.argmax(ones(2, 3), axis=1)",
    "assign_anchor_to_bbox": "d2l.assign_anchor_to_bbox(boxes[:1], boxes, CPU)",
    "astype": "d2l.astype(ones(3), torch.int32)",
    "batchify": "d2l.batchify([(1, [2, 3], [4, 5, 6]), (1, [2], [4])])",
    "bbox_to_rect": "d2l.bbox_to_rect([0, 0, 2, 3], 'red').get_width()",
    "bleu": "d2l.bleu('a b c d', 'a b c e', k=2)",
    "box_center_to_corner": "d2l.box_center_to_corner(boxes)",
    "box_corner_to_center": "d2l.box_corner_to_center(boxes)",
    "box_iou": "d2l.box_iou(boxes, boxes)",
    "build_array_nmt": "d2l.build_array_nmt([line, line[:2]], vocab, 8)",
    "copyfile": "(csv(), d2l.copyfile('labels.csv', 'copies'), len(os.listdir('copies')))[-1]",
    "corr2d": "d2l.corr2d(ones(4, 4), ones(2, 2))",
    "evaluate_accuracy_gpu": "d2l.evaluate_accuracy_gpu(flat_net(), loader(labelled()), CPU)",
    "evaluate_loss": "d2l.evaluate_loss(nn.Linear(2, 1), loader(data()), nn.MSELoss(reduction='none'))",
    "get_centers_and_contexts": "(__import__('random').seed(0), len(d2l.get_centers_and_contexts([[0, 1, 2, 3], [4, 5, 6]], 2)[0]))[-1]",
    "get_dataloader_workers": "d2l.get_dataloader_workers()",
    "get_fashion_mnist_labels": "len(d2l.get_fashion_mnist_labels([0, 9]))",
    "get_negatives": "len(d2l.get_negatives([[1, 2], [3]], vocab, {token: 3 for token in vocab.idx_to_token if token != 'nothing'}, 2))",
    "get_tokens_and_segments": "d2l.get_tokens_and_segments(['a', 'b'], ['c'])[1]",
    "grad_clipping": "clipped()",
    "linreg": "d2l.linreg(ones(2, 2), ones(2, 1), 1)",
    "load_array": "len(list(d2l.load_array(data(), 8)))",
    "masked_softmax": "d2l.masked_softmax(ones(2, 2, 4), torch.tensor([2, 3]))",
    "multibox_detection": "d2l.multibox_detection(torch.tensor([[[0.0] * 3, [0.9, 0.8, 0.7]]]), torch.zeros(1, 12), boxes.unsqueeze(0))",
    "multibox_prior": "d2l.multibox_prior(torch.zeros(1, 3, 4, 4), sizes=[0.75, 0.5], ratios=[1, 2])",
    "multibox_target": "d2l.multibox_target(*bananas())",
    "nms": "d2l.nms(boxes, torch.tensor([0.9, 0.8, 0.7]), 0.5)",
    "numpy": "d2l.numpy(ones(3))",
    "offset_boxes": "d2l.offset_boxes(boxes, boxes)",
    "offset_inverse": "d2l.offset_inverse(boxes, torch.zeros(3, 4))",
    "plot": "d2l.plot([1, 2], [[1, 2], [3, 4]], 'x', 'y', legend=['a', 'b']) is None",
    "predict_sentiment": "len(d2l.predict_sentiment(Tiny(), vocab, 'the machine'))",
    "predict_snli": "len(d2l.predict_snli(Pair(), vocab, ['the'], ['machine']))",
    "preprocess_nmt": "len(d2l.preprocess_nmt('Go.\\u202f Hi!'))",
    "read_csv_labels": "len(d2l.read_csv_labels(csv()))",
    "reduce_sum": "d2l.reduce_sum(ones(2, 3))",
    "reorg_test": "(folders(), d2l.reorg_test('data'), len(os.listdir('data/train_valid_test/test/unknown')))[-1]",
    "reorg_train_valid": "d2l.reorg_train_valid('data', folders(), 0.5)",
    "reshape": "d2l.reshape(ones(2, 3), (3, 2))",
    "resnet18": "d2l.resnet18(10, 1).eval()(ones(1, 1, 32, 32))",
    "sequence_mask": "d2l.sequence_mask(torch.ones(2, 3), torch.tensor([1, 2]))",
    "set_axes": "d2l.set_axes(figure(), 'x', 'y', (0, 1), (0, 1), 'linear', 'linear', ['a']) is None",
    "set_figsize": "d2l.set_figsize() is None",
    "sgd": "sgd_once()",
    "show_bboxes": "d2l.show_bboxes(figure(), [boxes[0], boxes[1]], ['a', 'b']) is None",
    "show_heatmaps": "d2l.show_heatmaps(ones(1, 2, 3, 3), 'x', 'y') is None",
    "show_images": "len(d2l.show_images(torch.zeros(4, 8, 8), 2, 2))",
    "show_list_len_pair_hist": "d2l.show_list_len_pair_hist(['a', 'b'], 'x', 'y', [[1, 2]], [[1]]) is None",
    "show_trace_2d": "d2l.show_trace_2d(lambda a, b: a**2 + b**2, [(-5, -2), (0, 0)]) is None",
    "size": "d2l.size(ones(2, 3))",
    "split_batch": "d2l.split_batch(*data(4), [CPU])",
    "squared_loss": "d2l.squared_loss(ones(3), torch.zeros(3))",
    "subsample": "len(d2l.subsample([line], vocab)[0])",
    "synthetic_data": "d2l.synthetic_data(torch.tensor([2.0, -3.4]), 4.2, 10)",
    "to": "d2l.to(ones(3), CPU)",
    "tokenize": "len(d2l.tokenize(['the time', 'machine']))",
    "tokenize_nmt": "len(d2l.tokenize_nmt('go .\\tva !\\nhi .\\tsalut .')[0])",
    "train_2d": "d2l.train_2d(lambda a, b, c, d, f_grad=None: (a * 0.9, b * 0.9, 0, 0), 3)",
    "train_batch_ch13": "batch_13()",
    "train_ch13": "trained_13()",
    "train_ch6": "trained_6()",
    "transpose": "d2l.transpose(ones(2, 3))",
    "truncate_pad": "d2l.truncate_pad([1, 2, 3], 5, 0)",
    "try_all_gpus": "len(d2l.try_all_gpus()) >= 0",
    "try_gpu": "d2l.try_gpu().type == 'cpu'",
    "update_D": "gan()[0]",
    "update_G": "gan()[1]",
    "use_svg_display": "d2l.use_svg_display() is None",
    "voc_colormap2label": "d2l.voc_colormap2label().sum()",
    "voc_label_indices": "d2l.voc_label_indices(torch.zeros(3, 40, 40), d2l.voc_colormap2label())",
    "voc_rand_crop": "d2l.voc_rand_crop(ones(3, 8, 8), ones(3, 8, 8), 4, 4)",
}

S2S = "torch.zeros((2, 4), dtype=torch.long)"


def zh_rnn():
    net = d2l.RNNModel(nn.RNN(len(vocab), 8), len(vocab))
    X = torch.zeros((2, 3), dtype=torch.long)
    return net(X, net.begin_state(CPU, 2))[0]


def zh_scratch():
    def params(vocab_size, num_hiddens, device):
        shapes = [
            (vocab_size, num_hiddens),
            (num_hiddens, num_hiddens),
            (num_hiddens,),
            (num_hiddens, vocab_size),
            (vocab_size,),
        ]
        return [(torch.randn(shape) * 0.1).requires_grad_() for shape in shapes]

    def forward(inputs, state, params):
        W_xh, W_hh, b_h, W_hq, b_q = params
        (H,), outputs = state, []
        for X in inputs:
            H = torch.tanh(X @ W_xh + H @ W_hh + b_h)
            outputs.append(H @ W_hq + b_q)
        return torch.cat(outputs, 0), (H,)

    return d2l.RNNModelScratch(len(vocab), 8, CPU, params, lambda n, h, device: (torch.zeros(n, h),), forward)


def zh_batches():
    return [(torch.arange(6).reshape(2, 3) % len(vocab), torch.arange(1, 7).reshape(2, 3) % len(vocab))]


def zh_train_8():
    net = zh_scratch()
    d2l.train_ch8(net, zh_batches(), vocab, 0.1, 2, CPU)
    return [p.detach().sum().item() for p in net.params]


def zh_train_3():
    net = flat_net()
    trainer = torch.optim.SGD(net.parameters(), lr=0.1)
    got = d2l.train_epoch_ch3(net, loader(labelled()), nn.CrossEntropyLoss(reduction="none"), trainer)
    return [*got, *weights(net)]


def zh_train_ch3():
    net = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    nn.init.zeros_(net[1].weight)
    trainer = torch.optim.SGD(net.parameters(), lr=0.1)
    X, y = torch.zeros(10, 1, 28, 28), torch.zeros(10, dtype=torch.long)
    both = loader((X, y))
    d2l.train_ch3(net, both, both, nn.CrossEntropyLoss(reduction="none"), 40, trainer)
    return weights(net)


class Decoder(d2l.Decoder):
    def __init__(self):
        super().__init__()
        self.embedding, self.dense = nn.Embedding(len(vocab), 4), nn.Linear(4, len(vocab))

    def init_state(self, enc_outputs, *args):
        return enc_outputs[1]

    def forward(self, X, state):
        return self.dense(self.embedding(X) + state.mean(0).unsqueeze(1)), state


def zh_seq2seq():
    net = d2l.EncoderDecoder(d2l.Seq2SeqEncoder(len(vocab), 4, 4, 1), Decoder())
    X, lens = torch.zeros((2, 4), dtype=torch.long), torch.tensor([3, 2])
    d2l.train_seq2seq(net, loader((X, lens, X, lens), 2), 0.01, 2, vocab, CPU)
    return weights(net)


def zh_predict_seq2seq():
    net = d2l.EncoderDecoder(d2l.Seq2SeqEncoder(len(vocab), 4, 4, 1), Decoder())
    return len(d2l.predict_seq2seq(net, "the time", vocab, vocab, 4, CPU)[0].split()) >= 0


IDS = "torch.zeros((2, 5), dtype=torch.long)"
ZH_ONLY = {
    "AdditiveAttention": "d2l.AdditiveAttention(2, 20, 8, 0.0).eval()(ones(2, 1, 20), ones(2, 10, 2), ones(2, 10, 4), torch.tensor([2, 6]))",
    "BERTEncoder": f"d2l.BERTEncoder(10, 8, [8], 8, 16, 2, 1, 0.0, key_size=8, query_size=8, value_size=8).eval()({IDS}, {IDS}, None)",
    "BERTModel": f"d2l.BERTModel(10, 8, [8], 8, 16, 2, 1, 0.0, key_size=8, query_size=8, value_size=8, hid_in_features=8, mlm_in_features=8, nsp_in_features=8).eval()({IDS}, {IDS}, None, torch.tensor([[1], [2]]))",
    "EncoderBlock": "d2l.EncoderBlock(8, 8, 8, 8, [5, 8], 8, 16, 2, 0.0).eval()(ones(2, 5, 8), torch.tensor([3, 2]))",
    "MaskLM": "d2l.MaskLM(10, 8, 8).eval()(ones(2, 5, 8), torch.tensor([[1], [2]]))",
    "MultiHeadAttention": "d2l.MultiHeadAttention(8, 8, 8, 8, 2, 0.0).eval()(ones(2, 4, 8), ones(2, 6, 8), ones(2, 6, 8), torch.tensor([3, 2]))",
    "NextSentencePred": "d2l.NextSentencePred(8)(ones(2, 8))",
    "PositionWiseFFN": "d2l.PositionWiseFFN(4, 4, 8).eval()(ones(2, 3, 4))",
    "RNNModel": "zh_rnn()",
    "RNNModelScratch": "len(zh_scratch().params)",
    "Seq2SeqEncoder": f"d2l.Seq2SeqEncoder(10, 8, 16, 2).eval()({S2S})",
    "TransformerEncoder": "d2l.TransformerEncoder(20, 8, 8, 8, 8, [5, 8], 8, 16, 2, 1, 0.0).eval()(torch.ones((2, 5), dtype=torch.long), torch.tensor([3, 2]))",
    "count_corpus": "len(d2l.count_corpus([line, line]))",
    "evaluate_accuracy": "d2l.evaluate_accuracy(flat_net(), loader(labelled()))",
    "predict_ch3": "d2l.predict_ch3(flat_net(), loader(labelled()), n=2) is None",
    "predict_ch8": "len(d2l.predict_ch8('the', 3, zh_scratch(), vocab, CPU)) > 3",
    "predict_seq2seq": "zh_predict_seq2seq()",
    "seq_data_iter_random": "(__import__('random').seed(0), len(list(d2l.seq_data_iter_random(list(range(35)), 2, 5))))[-1]",
    "seq_data_iter_sequential": "(__import__('random').seed(0), len(list(d2l.seq_data_iter_sequential(list(range(35)), 2, 5))))[-1]",
    "train_ch3": "zh_train_ch3()",
    "train_ch8": "zh_train_8()",
    "train_epoch_ch3": "zh_train_3()",
    "train_epoch_ch8": "len(d2l.train_epoch_ch8(zh_scratch(), zh_batches(), nn.CrossEntropyLoss(), lambda batch_size: None, CPU, False))",
    "train_seq2seq": "zh_seq2seq()",
    "transpose_output": "d2l.transpose_output(ones(4, 3, 4), 2)",
    "transpose_qkv": "d2l.transpose_qkv(ones(2, 3, 8), 2)",
}


def en_trained(model, epochs=2):
    d2l.Trainer(max_epochs=epochs).fit(model, en_data(model))
    return weights(model)


def en_data(model):
    source = d2l.SyntheticRegressionData(
        torch.tensor([2.0, -3.4]), 4.2, num_train=32, num_val=32, batch_size=8
    )
    source.num_workers = 0
    model.board.display = False
    return source


def en_rnnlm(kind):
    rnn = d2l.RNNScratch(28, 8) if kind is d2l.RNNLMScratch else d2l.RNN(28, 8)
    net = kind(rnn, 28, lr=1)
    return net(torch.zeros((2, 3), dtype=torch.long))


def en_hpo(cls):
    space = {"x": __import__("scipy.stats").stats.uniform(0, 1)}
    searcher = d2l.RandomSearcher(space, initial_config={"x": 0.5})
    if cls is d2l.SuccessiveHalvingScheduler:
        scheduler = cls(searcher, 2, 1, 4)
    else:
        scheduler = d2l.BasicScheduler(searcher)
    if cls is d2l.HPOTuner:
        tuner = d2l.HPOTuner(scheduler, lambda x, **_: torch.tensor(x))
        tuner.run(number_of_trials=1)
        return tuner.incumbent_error
    return scheduler.suggest()["x"]


EN_ONLY = {
    "AdditiveAttention": "(lambda a: a.eval()(ones(2, 1, 20), ones(2, 10, 2), ones(2, 10, 4), torch.tensor([2, 6])))(d2l.AdditiveAttention(8, 0.0))",
    "BERTEncoder": f"d2l.BERTEncoder(10, 8, 16, 2, 1, 0.0).eval()({IDS}, {IDS}, None)",
    "BERTModel": f"d2l.BERTModel(10, 8, 16, 2, 1, 0.0).eval()({IDS}, {IDS}, None, torch.tensor([[1], [2]]))",
    "BasicScheduler": "en_hpo(d2l.BasicScheduler)",
    "Classifier": "d2l.Classifier().accuracy(torch.tensor([[0.1, 0.9]]), torch.tensor([1]))",
    "DataModule": "d2l.DataModule().num_workers",
    "GRU": "d2l.GRU(4, 8, 1)(ones(3, 2, 4))",
    "HPOScheduler": "len(vars(d2l.HPOScheduler())) >= 0",
    "HPOSearcher": "len(vars(d2l.HPOSearcher())) >= 0",
    "HPOTrainer": "d2l.HPOTrainer(1).max_epochs",
    "HPOTuner": "en_hpo(d2l.HPOTuner)",
    "HyperParameters": "type('H', (d2l.HyperParameters,), {'__init__': lambda self, a: self.save_hyperparameters()})(3).a",
    "LeNet": "d2l.LeNet().eval().apply_init([ones(1, 1, 28, 28)], d2l.init_cnn)",
    "LinearRegression": "en_trained(d2l.LinearRegression(0.03))",
    "LinearRegressionScratch": "(lambda m: (d2l.Trainer(max_epochs=2).fit(m, en_data(m)), m.w, m.b)[1:])(d2l.LinearRegressionScratch(2, 0.03))",
    "MaskLM": "d2l.MaskLM(10, 8).eval()(ones(2, 5, 8), torch.tensor([[1], [2]]))",
    "Module": "len(list(d2l.Module().parameters()))",
    "MultiHeadAttention": "d2l.MultiHeadAttention(8, 2, 0.0).eval()(ones(2, 4, 8), ones(2, 6, 8), ones(2, 6, 8), torch.tensor([3, 2]))",
    "NextSentencePred": "d2l.NextSentencePred()(ones(2, 8))",
    "PositionWiseFFN": "d2l.PositionWiseFFN(4, 8).eval()(ones(2, 3, 4))",
    "ProgressBoard": "d2l.ProgressBoard('x', display=False).draw(1, 2, 'a') is None",
    "RNN": "d2l.RNN(4, 8)(ones(3, 2, 4))",
    "RNNLM": "en_rnnlm(d2l.RNNLM)",
    "RNNLMScratch": "en_rnnlm(d2l.RNNLMScratch)",
    "RNNScratch": "d2l.RNNScratch(4, 8)(ones(3, 2, 4))[1]",
    "RandomSearcher": "d2l.RandomSearcher({'x': 1}, {'x': 0.5}).sample_configuration()['x']",
    "ResNeXtBlock": "d2l.ResNeXtBlock(32, 16, 1).eval()(ones(2, 32, 6, 6))",
    "SGD": "d2l.SGD([torch.ones(1)], 0.1).lr",
    "Seq2Seq": "len(list(d2l.Seq2Seq(d2l.Seq2SeqEncoder(10, 4, 4, 1), Decoder(), 0, 0.01).parameters()))",
    "Seq2SeqEncoder": f"d2l.Seq2SeqEncoder(10, 8, 16, 2).eval()({S2S})",
    "SoftmaxRegression": "d2l.SoftmaxRegression(10, 0.1)(ones(2, 1, 28, 28))",
    "SuccessiveHalvingScheduler": "en_hpo(d2l.SuccessiveHalvingScheduler)",
    "SyntheticRegressionData": "d2l.SyntheticRegressionData(torch.tensor([2.0, -3.4]), 4.2).X[:3]",
    "Trainer": "en_trained(d2l.LinearRegression(0.03), 1)",
    "TransformerEncoder": "d2l.TransformerEncoder(20, 8, 16, 2, 1, 0.0).eval()(torch.ones((2, 5), dtype=torch.long), torch.tensor([3, 2]))",
    "TransformerEncoderBlock": "d2l.TransformerEncoderBlock(8, 16, 2, 0.0).eval()(ones(2, 5, 8), torch.tensor([3, 2]))",
    "add_to_class": "d2l.add_to_class(Tiny)(lambda self: 1) is None",
    "check_len": "d2l.check_len([1, 2], 2) is None",
    "check_shape": "d2l.check_shape(ones(2, 3), (2, 3)) is None",
    "cpu": "d2l.cpu().type == 'cpu'",
    "expand_dims": "d2l.expand_dims(ones(2, 3), 0)",
    "gpu": "d2l.gpu(0).index",
    "init_cnn": "d2l.init_cnn(nn.Linear(2, 2)) is None",
    "init_seq2seq": "d2l.init_seq2seq(nn.GRU(2, 2)) is None",
    "num_gpus": "d2l.num_gpus() == torch.cuda.device_count()",
    "rbfkernel": "d2l.rbfkernel(np.ones(2), np.zeros(3))",
    "reduce_mean": "d2l.reduce_mean(ones(2, 3))",
    "repeat": "d2l.repeat(ones(2), 2)",
    "swapaxes": "d2l.swapaxes(ones(2, 3), 0, 1)",
}


def flat(value):
    """Return the numbers in ``value``, in order."""
    if isinstance(value, torch.Tensor):
        return value.detach().double().reshape(-1).tolist()
    if isinstance(value, np.ndarray):
        return value.astype(float).reshape(-1).tolist()
    if isinstance(value, (bool, int, float, np.generic)):
        return [float(value)]
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in flat(item)]
    return []


ZH = not hasattr(d2l, "HyperParameters")
rows = {**BOTH, **(ZH_ONLY if ZH else EN_ONLY)}
entries = sorted(
    name
    for name, entry in vars(d2l).items()
    if getattr(entry, "__module__", "") == "d2l.torch" and name[0] != "_"
)
found = {}
for name, expression in rows.items():
    torch.manual_seed(0)
    np.random.seed(0)
    stdout, sys.stdout = sys.stdout, open(os.devnull, "w")
    try:
        found[name] = {"numbers": flat(eval(expression)), "error": ""}
    except Exception as error:
        found[name] = {
            "numbers": [],
            "error": f"{type(error).__name__}: {str(error).splitlines()[0][:160] if str(error) else ''}",
        }
    finally:
        sys.stdout.close()
        sys.stdout = stdout
        plt.close("all")
reasons = {
    **dict.fromkeys(LEFT_OVER, "left over"),
    **dict.fromkeys(NEEDS_NETWORK, "network"),
    **dict.fromkeys(NEEDS_GYM, "gym"),
}
left = {name: reasons.get(name, "no exercise") for name in entries if name not in rows}
print(
    json.dumps(
        {
            "torch": torch.__version__,
            "python": sys.version.split()[0],
            "entries": len(entries),
            "found": found,
            "left": left,
        }
    )
)
