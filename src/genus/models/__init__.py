"""The families, one file each. Importing them registers them."""

from genus.models.autoencoder import Autoencoder
from genus.models.blend import Blend
from genus.models.chow_liu import ChowLiu
from genus.models.continuous import ContinuousDensity
from genus.models.copula import GaussianCopula
from genus.models.dequantised import Dequantised
from genus.models.flow import Flow
from genus.models.gan import GAN
from genus.models.glow import Glow
from genus.models.gpt import GPT
from genus.models.hclt import HCLT
from genus.models.iaf import IAF
from genus.models.independent import Independent
from genus.models.made import MADE
from genus.models.maf import MAF
from genus.models.markov import MarkovChain
from genus.models.mixture import Mixture
from genus.models.naive_bayes import NaiveBayes
from genus.models.nice import NICE
from genus.models.nsf import NSF
from genus.models.parallel_wavenet import ParallelWaveNet
from genus.models.pixelcnn import PixelCNN
from genus.models.real_nvp import RealNVP
from genus.models.rnn import RNN
from genus.models.stack import Stack, StackOfBounds
from genus.models.steps import IndependentSteps
from genus.models.trees import Trees
from genus.models.vae import IWAE, VAE
from genus.models.vqvae import VQVAE
from genus.models.wavenet import WaveNet
from genus.models.wgan import WGAN, WGANGP

__all__ = [
    "GAN",
    "GPT",
    "HCLT",
    "IAF",
    "IWAE",
    "MADE",
    "MAF",
    "NICE",
    "NSF",
    "RNN",
    "VAE",
    "VQVAE",
    "WGAN",
    "WGANGP",
    "Autoencoder",
    "Blend",
    "ChowLiu",
    "ContinuousDensity",
    "Dequantised",
    "Flow",
    "GaussianCopula",
    "Glow",
    "MarkovChain",
    "Mixture",
    "Independent",
    "IndependentSteps",
    "NaiveBayes",
    "ParallelWaveNet",
    "PixelCNN",
    "RealNVP",
    "Stack",
    "StackOfBounds",
    "Trees",
    "WaveNet",
]
